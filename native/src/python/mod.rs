//! The Python face: checks of what comes in, the GIL released around every batch.

mod alignment;
mod arrays;
mod encryption;
mod group;
mod histograms;
mod ledger;
mod paths;
mod prediction;

use std::sync::{Mutex, PoisonError};

use pyo3::create_exception;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::fault::Fault;
use crate::threads::{self, Priority};

create_exception!(
    parley._native,
    DecodeError,
    PyValueError,
    "An element is not a canonical ristretto255 encoding; `index` says which one."
);

/// Runs `work` without the GIL on `threads` threads.
fn batch<T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce() -> Result<T, Fault> + Send,
) -> PyResult<T> {
    py.detach(|| threads::within(threads, Priority::Normal, work))
        .map_err(|fault| raised(py, &fault))
}

/// The same on a state that one call at a time may use. It is taken before the pool is entered, so that no thread of
/// the pool waits for it.
fn batch_on<S: Send, T: Send>(
    py: Python<'_>,
    threads: usize,
    state: &Mutex<S>,
    work: impl FnOnce(&mut S) -> Result<T, Fault> + Send,
) -> PyResult<T> {
    py.detach(|| {
        let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        threads::within(threads, Priority::Normal, || work(state))
    })
    .map_err(|fault| raised(py, &fault))
}

/// The same for work that is over before another thread would be awake, and begins no others.
fn here_on<S: Send, T: Send>(
    py: Python<'_>,
    state: &Mutex<S>,
    work: impl FnOnce(&mut S) -> Result<T, Fault> + Send,
) -> PyResult<T> {
    py.detach(|| work(&mut state.lock().unwrap_or_else(PoisonError::into_inner)))
        .map_err(|fault| raised(py, &fault))
}

/// The same as `batch` with the processor time that nobody else wants.
fn spare_batch<T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce() -> Result<T, Fault> + Send,
) -> PyResult<T> {
    py.detach(|| threads::within(threads, Priority::Spare, work))
        .map_err(|fault| raised(py, &fault))
}

fn raised(py: Python<'_>, fault: &Fault) -> PyErr {
    let text = fault.to_string();
    match fault {
        Fault::Decode(index) => {
            let error = DecodeError::new_err(text);
            match error.value(py).setattr("index", *index) {
                Ok(()) => error,
                Err(other) => other,
            }
        }
        Fault::Input(_) => PyValueError::new_err(text),
        Fault::Memory(_) => PyMemoryError::new_err(text),
        Fault::Randomness(_) => PyOSError::new_err(text),
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("DecodeError", module.py().get_type::<DecodeError>())?;
    paths::register(module)?;
    group::register(module)?;
    alignment::register(module)?;
    encryption::register(module)?;
    histograms::register(module)?;
    ledger::register(module)?;
    prediction::register(module)
}
