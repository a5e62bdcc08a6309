//! When a program has proved itself, and when it has failed too often.

/// Executions in a row that end in a fault before the program before it comes back.
pub const FAULTS_MAX: u8 = 3;
/// Executions without a fault in between after which a new program has proved itself.
pub const CLEAN_MIN: u16 = 100;

/// What one more execution says about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new.
    Open,
    /// It has proved itself: call `Store::good` (once; later calls do nothing).
    Good,
    /// It failed too often: call `Store::fault`.
    Failed,
}

/// Counts the executions of one program since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probation {
    faults: u8,
    clean: u16,
}

impl Probation {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self { faults: 0, clean: 0 }
    }

    /// Count one execution.
    pub fn count(&mut self, faulted: bool) -> Verdict {
        if faulted {
            self.clean = 0;
            self.faults = self.faults.saturating_add(1);
            if self.faults < FAULTS_MAX {
                return Verdict::Open;
            }
            self.faults = 0;
            return Verdict::Failed;
        }
        self.faults = 0;
        if self.clean >= CLEAN_MIN {
            return Verdict::Open;
        }
        self.clean += 1;
        if self.clean == CLEAN_MIN {
            return Verdict::Good;
        }
        Verdict::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_faults_in_a_row_fail() {
        let mut probation = Probation::new();
        assert_eq!(probation.count(true), Verdict::Open);
        assert_eq!(probation.count(true), Verdict::Open);
        assert_eq!(probation.count(true), Verdict::Failed);
    }

    #[test]
    fn a_good_execution_in_between_forgives() {
        let mut probation = Probation::new();
        for _ in 0..10 {
            assert_eq!(probation.count(true), Verdict::Open);
            assert_eq!(probation.count(true), Verdict::Open);
            assert_eq!(probation.count(false), Verdict::Open);
        }
    }

    #[test]
    fn good_is_said_once() {
        let mut probation = Probation::new();
        let said = (0..1000).filter(|_| probation.count(false) == Verdict::Good);
        assert_eq!(said.count(), 1);
    }
}
