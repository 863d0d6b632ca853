//! Which kernels run.

use pyo3::prelude::*;

use super::raised;
use crate::kernels;

#[pyfunction]
fn kernel_path(py: Python<'_>) -> PyResult<&'static str> {
    let path = kernels::current().map_err(|fault| raised(py, &fault))?;
    Ok(path.name())
}

#[pyfunction]
fn available_kernels() -> Vec<&'static str> {
    kernels::available()
        .iter()
        .map(|path| path.name())
        .collect()
}

#[pyfunction]
fn use_kernels(py: Python<'_>, name: &str) -> PyResult<()> {
    kernels::choose(name).map_err(|fault| raised(py, &fault))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(kernel_path, module)?)?;
    module.add_function(wrap_pyfunction!(available_kernels, module)?)?;
    module.add_function(wrap_pyfunction!(use_kernels, module)?)
}
