//! `exec_late leader|thread [DELAY_SECONDS]`: after the delay a thread executes this program anew, which then sleeps.
//!
//! `leader`: the main thread does it, and keeps its thread id. `thread`: another thread does it: the kernel ends all
//! others and the thread goes on with the id of the leader. The second image is told by its argument `asleep`.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use profiler_tests::workload::{number, ready, text, thread_named};

fn main() {
    let delay = Duration::from_secs_f64(number(2, 1.0));
    match text(1).as_str() {
        "asleep" => thread::sleep(Duration::from_secs(1000)),
        "leader" => {
            thread_named("other", || thread::sleep(Duration::from_secs(1000)));
            ready();
            exec_after(delay);
        }
        "thread" => {
            thread_named("other", move || exec_after(delay));
            ready();
            thread::sleep(Duration::from_secs(1000));
        }
        unknown => panic!("neither `leader` nor `thread`: `{unknown}`"),
    }
}

fn exec_after(delay: Duration) {
    thread::sleep(delay);
    let this_program = env::current_exe().expect("the path of this program");
    let error = Command::new(this_program).arg("asleep").exec();
    panic!("exec failed: {error}");
}
