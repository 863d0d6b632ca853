//! `SecretScalar`, hashing to the group and blinding.

use curve25519_dalek::Scalar;
use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use super::arrays::{Dim, Input, grouped, output, seed};
use super::{batch, raised};
use crate::psi::{self, Identifiers};
use crate::randomness::{seeded_scalar, system_scalar};

/// A secret scalar; zeroised on drop, shown by nothing.
#[pyclass(frozen, module = "parley._native")]
struct SecretScalar {
    scalar: Zeroizing<Scalar>,
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

fn hashed(
    data: &Bound<'_, PyAny>,
    offsets: &Bound<'_, PyAny>,
    dst: &[u8],
    scalar: Option<&Scalar>,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = data.py();
    let data = raw_bytes(data)?;
    let offsets = Input::<u64>::checked("offsets", offsets, &[Dim::Free("n + 1")])?;
    let (bytes, positions) = (data.elements()?, offsets.elements()?);
    let encodings = batch(py, threads, || {
        psi::hash(&Identifiers::checked(bytes, positions)?, dst, scalar)
    })?;
    let shape = [encodings.len(), 32];
    output(py, encodings.into_flattened(), &shape)
}

#[pyfunction]
fn hash_to_group(
    data: &Bound<'_, PyAny>,
    offsets: &Bound<'_, PyAny>,
    dst: &[u8],
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    hashed(data, offsets, dst, None, threads)
}

#[pyfunction]
fn hash_and_blind(
    data: &Bound<'_, PyAny>,
    offsets: &Bound<'_, PyAny>,
    dst: &[u8],
    scalar: &SecretScalar,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    hashed(data, offsets, dst, Some(&scalar.scalar), threads)
}

#[pyfunction]
fn blind(
    points: &Bound<'_, PyAny>,
    scalar: &SecretScalar,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = points.py();
    let points = Input::<u8>::checked("points", points, &[Dim::Free("n"), Dim::Is(32)])?;
    let encodings = grouped(points.elements()?);
    let blinded = batch(py, threads, || psi::blind(encodings, &scalar.scalar))?;
    output(py, blinded.into_flattened(), &[points.size(0), 32])
}

#[pyfunction]
fn blind_digest(
    points: &Bound<'_, PyAny>,
    scalar: &SecretScalar,
    tag: &[u8],
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = points.py();
    let points = Input::<u8>::checked("points", points, &[Dim::Free("n"), Dim::Is(32)])?;
    let encodings = grouped(points.elements()?);
    let digests = batch(py, threads, || {
        psi::blind_digest(encodings, &scalar.scalar, tag)
    })?;
    output(py, digests.into_flattened(), &[points.size(0), 16])
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SecretScalar>()?;
    module.add_function(wrap_pyfunction!(hash_to_group, module)?)?;
    module.add_function(wrap_pyfunction!(hash_and_blind, module)?)?;
    module.add_function(wrap_pyfunction!(blind, module)?)?;
    module.add_function(wrap_pyfunction!(blind_digest, module)?)
}
