//! `SecretScalar`, hashing to the group and multiplication of points.

use curve25519_dalek::{RistrettoPoint, Scalar};
use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use super::arrays::{Dim, Input, grouped, output, seed};
use super::{batch, raised};
use crate::group;
use crate::identifiers::Identifiers;
use crate::randomness::{seeded_scalar, system_scalar};

/// A secret scalar; zeroised on drop, shown by nothing.
#[pyclass(frozen, module = "parley._native")]
pub struct SecretScalar {
    pub scalar: Zeroizing<Scalar>,
}

#[pymethods]
impl SecretScalar {
    #[staticmethod]
    fn random(py: Python<'_>) -> PyResult<Self> {
        let scalar = system_scalar().map_err(|fault| raised(py, &fault))?;
        Ok(Self {
            scalar: Zeroizing::new(scalar),
        })
    }

    #[staticmethod]
    #[pyo3(name = "from_seed", signature = (seed))]
    fn derive(seed: &[u8]) -> PyResult<Self> {
        let bytes = self::seed("seed", seed)?;
        Ok(Self {
            scalar: Zeroizing::new(seeded_scalar("parley/secret-scalar/v1", &bytes, 0)),
        })
    }

    fn public<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &RistrettoPoint::mul_base(&self.scalar).compress().0)
    }

    fn __repr__(&self) -> &'static str {
        "SecretScalar(redacted)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("a SecretScalar cannot be pickled"))
    }
}

/// The bytes of `data`: any object with the buffer protocol, read as unsigned bytes.
fn raw_bytes<'py>(data: &Bound<'py, PyAny>) -> PyResult<Input<'py, u8>> {
    let py = data.py();
    let shape = [Dim::Free("bytes")];
    let empty = data
        .cast::<PyBytes>()
        .is_ok_and(|b| b.as_bytes().is_empty());
    let source = if empty {
        py.import("numpy")?.call_method1("zeros", (0, "u1"))?
    } else {
        py.import("numpy")?
            .call_method1("frombuffer", (data, "u1"))?
    };
    Input::checked("data", &source, &shape)
}

/// Hands the identifiers to `work`, checked.
pub fn with_ids<T>(
    data: &Bound<'_, PyAny>,
    spans: &Bound<'_, PyAny>,
    work: impl FnOnce(Identifiers<'_>) -> PyResult<T>,
) -> PyResult<T> {
    let py = data.py();
    let data = raw_bytes(data)?;
    let spans = Input::<u64>::checked("spans", spans, &[Dim::Free("n"), Dim::Is(2)])?;
    let (bytes, positions) = (data.elements()?, spans.elements()?.as_chunks().0);
    let ids = Identifiers::checked(bytes, positions);
    work(ids.map_err(|fault| raised(py, &fault))?)
}

#[pyfunction]
fn hash_to_group(
    data: &Bound<'_, PyAny>,
    spans: &Bound<'_, PyAny>,
    dst: &[u8],
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = data.py();
    let hashes = with_ids(data, spans, |ids| {
        batch(py, threads, || group::hash(&ids, dst))
    })?;
    let shape = [hashes.len(), 32];
    output(py, hashes.into_flattened(), &shape)
}

#[pyfunction]
fn multiply(
    points: &Bound<'_, PyAny>,
    secret: &SecretScalar,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = points.py();
    let points = Input::<u8>::checked("points", points, &[Dim::Free("n"), Dim::Is(32)])?;
    let encodings = grouped(points.elements()?);
    let products = batch(py, threads, || group::multiply(encodings, &secret.scalar))?;
    output(py, products.into_flattened(), &[points.size(0), 32])
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SecretScalar>()?;
    module.add_function(wrap_pyfunction!(hash_to_group, module)?)?;
    module.add_function(wrap_pyfunction!(multiply, module)?)
}
