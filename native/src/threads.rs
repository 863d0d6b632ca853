//! One rayon pool per thread count, made on first use and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::fault::Fault;

/// More threads than this are surely a mistake.
pub const MOST: usize = 1024;

static POOLS: Mutex<Option<HashMap<usize, Arc<ThreadPool>>>> = Mutex::new(None);

/// Runs `work` with rayon bound to a pool of `threads` threads.
///
/// # Errors
/// `Input` if `threads` is not in `1..=MOST` or the threads cannot be started; what `work` returns.
pub fn within<T: Send>(
    threads: usize,
    work: impl FnOnce() -> Result<T, Fault> + Send,
) -> Result<T, Fault> {
    pool(threads)?.install(work)
}

fn pool(threads: usize) -> Result<Arc<ThreadPool>, Fault> {
    if !(1..=MOST).contains(&threads) {
        return Err(Fault::Input(format!(
            "threads: expected 1..={MOST}, got {threads}"
        )));
    }
    let mut guard = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let pools = guard.get_or_insert_with(HashMap::new);
    if let Some(pool) = pools.get(&threads) {
        return Ok(Arc::clone(pool));
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("parley-{i}"))
        .build()
        .map_err(|e| Fault::Input(format!("threads: {threads} could not be started: {e}")))?;
    let pool = Arc::new(pool);
    pools.insert(threads, Arc::clone(&pool));
    Ok(pool)
}
