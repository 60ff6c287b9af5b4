//! What is still missing before the process may be sent work.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// The gates of one process; ready when each is open. Without gates it is ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<Vec<Gate>>>,
}

/// One condition of readiness; closed until it is opened, and may close again.
#[derive(Clone, Debug)]
pub struct Gate {
    name: &'static str,
    open: Arc<AtomicBool>,
    note: Arc<Mutex<Option<String>>>,
}

impl Readiness {
    /// Adds a closed gate. The name tells an operator what is awaited: `API server trusts the
    /// certificate`, `listeners`.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate {
            name,
            open: Arc::default(),
            note: Arc::default(),
        };
        self.gates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(gate.clone());
        gate
    }

    /// Every gate with its state, in the order they were made.
    pub fn gates(&self) -> Vec<(&'static str, bool)> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates
            .iter()
            .map(|gate| (gate.name, gate.is_open()))
            .collect()
    }

    /// Every gate as a line for a person: `[+]` open or `[-]` closed, its name, and its note.
    pub fn lines(&self) -> Vec<(bool, String)> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |gate: &Gate| {
            let (open, note) = (gate.is_open(), gate.note());
            let mark = if open { '+' } else { '-' };
            let note = note.map_or_else(String::new, |note| format!(": {note}"));
            (open, format!("[{mark}] {}{note}", gate.name))
        };
        gates.iter().map(line).collect()
    }

    /// The names of the closed gates; empty means ready.
    pub fn pending(&self) -> Vec<&'static str> {
        let gates = self.gates();
        gates
            .iter()
            .filter(|(_, open)| !open)
            .map(|(name, _)| *name)
            .collect()
    }

    /// Whether each gate is open.
    pub fn is_ready(&self) -> bool {
        self.pending().is_empty()
    }
}

impl Gate {
    /// The condition holds.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// The condition holds no more.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// What a person should know of the condition, whether it holds or not; `None` takes it back.
    pub fn set_note(&self, note: Option<String>) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }

    /// The last note.
    pub fn note(&self) -> Option<String> {
        let note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        note.clone()
    }

    /// Whether the condition holds.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_each_gate_is_open() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let (listeners, certificate) = (readiness.gate("listeners"), readiness.gate("certificate"));
        assert_eq!(readiness.pending(), ["listeners", "certificate"]);
        listeners.open();
        assert_eq!(readiness.pending(), ["certificate"]);
        certificate.open();
        assert!(readiness.is_ready());
        listeners.close();
        assert_eq!(
            readiness.gates(),
            [("listeners", false), ("certificate", true)]
        );
    }

    #[test]
    fn a_note_stands_beside_its_gate_until_it_is_taken_back() {
        let readiness = Readiness::default();
        let gate = readiness.gate("certificate");
        gate.set_note(Some("it has expired".to_owned()));
        assert_eq!(
            readiness.lines(),
            [(false, "[-] certificate: it has expired".to_owned())]
        );
        gate.open();
        gate.set_note(None);
        assert_eq!(readiness.lines(), [(true, "[+] certificate".to_owned())]);
    }
}
