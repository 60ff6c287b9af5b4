//! What every long-running process needs: logs, admin server, readiness, drain.
