//! What both ends must agree on: names, ports, annotations, configuration.
