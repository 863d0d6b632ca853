//! Which kernels run.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyfunction]
fn kernel_path() -> &'static str {
    "portable"
}

#[pyfunction]
fn available_kernels() -> Vec<&'static str> {
    vec!["portable"]
}

#[pyfunction]
fn use_kernels(name: &str) -> PyResult<()> {
    if name == "portable" {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "kernels: expected one of portable, got {name:?}"
    )))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(kernel_path, module)?)?;
    module.add_function(wrap_pyfunction!(available_kernels, module)?)?;
    module.add_function(wrap_pyfunction!(use_kernels, module)?)
}
