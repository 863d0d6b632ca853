//! One rayon pool per thread count and priority, made on first use and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::fault::Fault;

/// More threads than this are surely a mistake.
pub const MOST: usize = 1024;

/// Whether work is waited for, or done with what time others leave.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Priority {
    Normal,
    Spare,
}

type Pools = HashMap<(usize, Priority), Arc<ThreadPool>>;
static POOLS: Mutex<Option<Pools>> = Mutex::new(None);

/// Runs `work` with rayon bound to a pool of `threads` threads.
///
/// # Errors
/// `Input` if `threads` is not in `1..=MOST` or the threads cannot be started; what `work` returns.
pub fn within<T: Send>(
    threads: usize,
    priority: Priority,
    work: impl FnOnce() -> Result<T, Fault> + Send,
) -> Result<T, Fault> {
    pool(threads, priority)?.install(work)
}

/// Does every task: on a pool of `threads` threads, or at once in this one where it is one task or one thread, since
/// waking another takes longer than a small task.
///
/// # Errors
/// As `within`.
pub fn each<T: Send>(
    threads: usize,
    tasks: Vec<T>,
    work: impl Fn(T) + Send + Sync,
) -> Result<(), Fault> {
    check(threads)?;
    if threads == 1 || tasks.len() < 2 {
        tasks.into_iter().for_each(work);
        return Ok(());
    }
    within(threads, Priority::Normal, || {
        tasks.into_par_iter().for_each(work);
        Ok(())
    })
}

fn check(threads: usize) -> Result<(), Fault> {
    if (1..=MOST).contains(&threads) {
        return Ok(());
    }
    Err(Fault::Input(format!(
        "threads: expected 1..={MOST}, got {threads}"
    )))
}

fn pool(threads: usize, priority: Priority) -> Result<Arc<ThreadPool>, Fault> {
    check(threads)?;
    let mut guard = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let pools = guard.get_or_insert_with(HashMap::new);
    if let Some(pool) = pools.get(&(threads, priority)) {
        return Ok(Arc::clone(pool));
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("parley-{i}"))
        .start_handler(move |_| {
            if priority == Priority::Spare {
                step_back();
            }
        })
        .build()
        .map_err(|e| Fault::Input(format!("threads: {threads} could not be started: {e}")))?;
    let pool = Arc::new(pool);
    pools.insert((threads, priority), Arc::clone(&pool));
    Ok(pool)
}

/// Lets the system run this thread only when no other wants the processor, where that can be said of one thread.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn nice(by: std::ffi::c_int) -> std::ffi::c_int;
        }
        // SAFETY: `nice` has no requirements; on Linux it concerns the calling thread alone. If it fails, the
        // thread runs as any other.
        unsafe { nice(19) };
    }
}
