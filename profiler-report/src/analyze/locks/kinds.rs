//! What kind of lock or wait a futex belongs to: by the functions of the stack that waits, or else by the state.
//!
//! A condition variable or an idle worker's park is no lock. The innermost function decides: a thread that was signalled by a
//! condition variable and then waits for its mutex has both on its stack, the mutex inside.

use profiler_common::state;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FutexKind {
    Mutex,
    ReadWriteLock,
    /// That of an interpreter of which one thread runs at a time: CPython's.
    InterpreterLock,
    ConditionVariable,
    Semaphore,
    Join,
    Park,
    /// Nothing shows it.
    Other,
}

impl FutexKind {
    /// Whether somebody holds it, so that waiting for it is lost time.
    pub fn is_lock(self) -> bool {
        matches!(self, Self::Mutex | Self::ReadWriteLock | Self::InterpreterLock)
    }

    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::ReadWriteLock => "read-write lock",
            Self::InterpreterLock => "interpreter lock",
            Self::ConditionVariable => "condition variable",
            Self::Semaphore => "semaphore",
            Self::Join => "join",
            Self::Park => "park",
            Self::Other => "futex",
        }
    }
}

/// Parts of function names, of glibc, musl, libstdc++, Rust's standard library, parking_lot, Go's runtime and the JVM. The first
/// that fits counts.
const BY_FUNCTION: &[(&str, FutexKind)] = &[
    ("pthread_rwlock_", FutexKind::ReadWriteLock),
    ("RwLock", FutexKind::ReadWriteLock),
    ("rwlock", FutexKind::ReadWriteLock),
    ("shared_mutex", FutexKind::ReadWriteLock),
    ("read_contended", FutexKind::ReadWriteLock),
    ("write_contended", FutexKind::ReadWriteLock),
    ("pthread_mutex_cond_lock", FutexKind::Mutex),
    ("pthread_mutex_lock", FutexKind::Mutex),
    ("pthread_mutex_timedlock", FutexKind::Mutex),
    ("pthread_mutex_clocklock", FutexKind::Mutex),
    ("lll_lock_wait", FutexKind::Mutex),
    ("lock_contended", FutexKind::Mutex),
    ("lock_slow", FutexKind::Mutex),
    ("runtime.lock", FutexKind::Mutex),
    ("pthread_cond_", FutexKind::ConditionVariable),
    ("condition_variable", FutexKind::ConditionVariable),
    ("Condvar", FutexKind::ConditionVariable),
    ("condvar", FutexKind::ConditionVariable),
    ("sem_wait", FutexKind::Semaphore),
    ("sem_timedwait", FutexKind::Semaphore),
    ("sem_clockwait", FutexKind::Semaphore),
    ("semaphore", FutexKind::Semaphore),
    ("pthread_join", FutexKind::Join),
    ("pthread_clockjoin", FutexKind::Join),
    ("pthread_timedjoin", FutexKind::Join),
    ("pthread_barrier_wait", FutexKind::ConditionVariable),
    ("thread::park", FutexKind::Park),
    ("Parker", FutexKind::Park),
    ("Unsafe_Park", FutexKind::Park),
    ("runtime.notesleep", FutexKind::Park),
    ("runtime.notetsleep", FutexKind::Park),
    ("runtime.stopm", FutexKind::Park),
];

/// Functions of CPython that wait for nothing but its interpreter lock (Python/ceval_gil.h).
const OF_INTERPRETER: &[&str] = &["take_gil", "PyEval_RestoreThread", "PyEval_AcquireThread"];
/// Where the interpreter takes its lock again by itself. `take_gil` is a function without a name in most builds, and the one that
/// calls it may be another: with the condition variable's own, so many functions lie in between at the most. Whatever a program
/// calls lies further away.
const INTERPRETER_LOOP: &str = "_PyEval_EvalFrameDefault";
const FROM_LOOP: usize = 4;

/// The kind of a futex wait: by the user functions of its stack, innermost first, or else by the mark that its state rests on.
pub fn kind<'a>(state: u32, functions: impl Iterator<Item = &'a str>) -> FutexKind {
    let mut by_function = None;
    let mut outside = 0;
    for function in functions {
        if by_function == Some(FutexKind::ConditionVariable) {
            outside += 1;
            let is_loop = outside <= FROM_LOOP && function == INTERPRETER_LOOP;
            if is_loop || OF_INTERPRETER.contains(&function) {
                return FutexKind::InterpreterLock;
            }
        }
        by_function = by_function
            .or_else(|| BY_FUNCTION.iter().find(|(part, _)| function.contains(part)).map(|&(_, kind)| kind));
    }
    by_function.unwrap_or(by_state(state))
}

/// Without a stack: value 2 without a timeout is the mark of a contended mutex.
pub fn by_state(state: u32) -> FutexKind {
    if state == state::FUTEX_LOCK { FutexKind::Mutex } else { FutexKind::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: u32, functions: &[&str], expected: FutexKind) {
        assert_eq!(kind(state, functions.iter().copied()), expected);
    }

    #[test]
    fn a_mutex_is_one_by_name_or_by_mark() {
        check(state::FUTEX_LOCK, &["__lll_lock_wait", "___pthread_mutex_lock", "work"], FutexKind::Mutex);
        check(state::FUTEX_LOCK, &["[db+0x5010]"], FutexKind::Mutex);
        check(state::FUTEX_TIMED, &["pthread_mutex_timedlock"], FutexKind::Mutex);
        check(state::FUTEX_LOCK, &["std::sys::sync::mutex::futex::Mutex::lock_contended"], FutexKind::Mutex);
    }

    #[test]
    fn a_condition_variable_is_no_lock_and_its_mutex_is_one() {
        let waiting = ["__futex_abstimed_wait_common", "pthread_cond_wait", "worker"];
        check(state::FUTEX_WAIT, &waiting, FutexKind::ConditionVariable);
        let signalled = ["__lll_lock_wait", "__pthread_mutex_cond_lock", "pthread_cond_wait"];
        check(state::FUTEX_LOCK, &signalled, FutexKind::Mutex);
        assert!(!FutexKind::ConditionVariable.is_lock());
    }

    #[test]
    fn a_read_write_lock_is_a_lock_though_its_wait_bears_no_mark() {
        check(
            state::FUTEX_WAIT,
            &["__futex_abstimed_wait", "___pthread_rwlock_wrlock"],
            FutexKind::ReadWriteLock,
        );
        check(
            state::FUTEX_WAIT,
            &["std::sys::sync::rwlock::futex::RwLock::write_contended"],
            FutexKind::ReadWriteLock,
        );
    }

    #[test]
    fn join_semaphore_and_park_are_waits_for_others_work() {
        check(state::FUTEX_WAIT, &["__pthread_clockjoin_ex", "main"], FutexKind::Join);
        check(state::FUTEX_WAIT, &["__new_sem_wait_slow64", "main"], FutexKind::Semaphore);
        check(state::FUTEX_WAIT, &["std::thread::park"], FutexKind::Park);
        check(state::FUTEX_WAIT, &["runtime.futex", "runtime.notesleep"], FutexKind::Park);
    }

    #[test]
    fn the_interpreters_condition_variable_is_its_lock() {
        let named =
            ["__futex_abstimed_wait_common", "pthread_cond_timedwait", "take_gil", "PyEval_RestoreThread"];
        check(state::FUTEX_TIMED, &named, FutexKind::InterpreterLock);
        let stripped =
            ["pthread_cond_timedwait", "[python3.11+0x1]", "PyEval_RestoreThread", "[python3.11+0x2]"];
        check(state::FUTEX_TIMED, &stripped, FutexKind::InterpreterLock);
        let in_loop =
            ["pthread_cond_timedwait", "[python3.11+0x1]", "[python3.11+0x3]", "_PyEval_EvalFrameDefault"];
        check(state::FUTEX_TIMED, &in_loop, FutexKind::InterpreterLock);
        let own = [
            "pthread_cond_wait",
            "[a.so+0x1]",
            "[a.so+0x2]",
            "cfunction_call",
            "_PyObject_Call",
            "_PyEval_EvalFrameDefault",
        ];
        check(state::FUTEX_WAIT, &own, FutexKind::ConditionVariable);
        let lock = ["sem_clockwait", "PyThread_acquire_lock_timed", "lock_PyThread_acquire_lock"];
        check(state::FUTEX_TIMED, &lock, FutexKind::Semaphore);
    }

    #[test]
    fn what_nothing_tells_is_no_lock() {
        check(state::FUTEX_WAIT, &["[db+0x10]"], FutexKind::Other);
        assert!(!FutexKind::Other.is_lock());
    }
}
