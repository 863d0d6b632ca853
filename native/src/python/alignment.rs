//! `SecretScalar`, `EvaluationKey`, and the oblivious function of identifiers.

use curve25519_dalek::{RistrettoPoint, Scalar};
use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use super::arrays::{Dim, Input, grouped, output, seed};
use super::{batch, raised};
use crate::fault::Fault;
use crate::psi::{self, Blinds, Identifiers};
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

/// The public point of a `SecretScalar`, with the table that multiplies it.
#[pyclass(frozen, module = "parley._native")]
struct EvaluationKey {
    key: psi::EvaluationKey,
}

#[pymethods]
impl EvaluationKey {
    #[staticmethod]
    fn decode(py: Python<'_>, encoding: &[u8]) -> PyResult<Self> {
        let encoding = seed("key", encoding)?;
        let key = psi::EvaluationKey::decode(&encoding).map_err(|fault| raised(py, &fault))?;
        Ok(Self { key })
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

/// Runs `work` on identifiers.
fn of_ids<const BYTES: usize>(
    data: &Bound<'_, PyAny>,
    spans: &Bound<'_, PyAny>,
    threads: usize,
    work: impl FnOnce(&Identifiers<'_>) -> Result<Vec<[u8; BYTES]>, Fault> + Send,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = data.py();
    let data = raw_bytes(data)?;
    let spans = Input::<u64>::checked("spans", spans, &[Dim::Free("n"), Dim::Is(2)])?;
    let (bytes, positions) = (data.elements()?, spans.elements()?.as_chunks().0);
    let results = batch(py, threads, || {
        work(&Identifiers::checked(bytes, positions)?)
    })?;
    let shape = [results.len(), BYTES];
    output(py, results.into_flattened(), &shape)
}

/// Runs `work` on encodings.
fn of_points<const BYTES: usize>(
    points: &Bound<'_, PyAny>,
    threads: usize,
    work: impl FnOnce(&[[u8; 32]]) -> Result<Vec<[u8; BYTES]>, Fault> + Send,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = points.py();
    let points = Input::<u8>::checked("points", points, &[Dim::Free("n"), Dim::Is(32)])?;
    let encodings = grouped(points.elements()?);
    let results = batch(py, threads, || work(encodings))?;
    output(py, results.into_flattened(), &[points.size(0), BYTES])
}

#[pyfunction]
fn hash_to_group(
    data: &Bound<'_, PyAny>,
    spans: &Bound<'_, PyAny>,
    dst: &[u8],
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    of_ids(data, spans, threads, |ids| psi::hash(ids, dst))
}

#[pyfunction]
fn blind_ids(
    data: &Bound<'_, PyAny>,
    spans: &Bound<'_, PyAny>,
    dst: &[u8],
    seed: &[u8],
    first: u64,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let blinds = Blinds::new(&self::seed("seed", seed)?);
    of_ids(data, spans, threads, |ids| {
        psi::blind(ids, dst, &blinds, first)
    })
}

#[pyfunction]
fn evaluate(
    points: &Bound<'_, PyAny>,
    secret: &SecretScalar,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    of_points(points, threads, |points| {
        psi::evaluate(points, &secret.scalar)
    })
}

#[pyfunction]
fn evaluate_ids(
    data: &Bound<'_, PyAny>,
    spans: &Bound<'_, PyAny>,
    dst: &[u8],
    secret: &SecretScalar,
    tag: &[u8],
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    of_ids(data, spans, threads, |ids| {
        psi::evaluate_ids(ids, dst, &secret.scalar, tag)
    })
}

#[pyfunction]
fn unblind(
    points: &Bound<'_, PyAny>,
    key: &EvaluationKey,
    seed: &[u8],
    first: u64,
    tag: &[u8],
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let blinds = Blinds::new(&self::seed("seed", seed)?);
    of_points(points, threads, |points| {
        psi::unblind(points, &key.key, &blinds, first, tag)
    })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SecretScalar>()?;
    module.add_class::<EvaluationKey>()?;
    module.add_function(wrap_pyfunction!(hash_to_group, module)?)?;
    module.add_function(wrap_pyfunction!(blind_ids, module)?)?;
    module.add_function(wrap_pyfunction!(evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(evaluate_ids, module)?)?;
    module.add_function(wrap_pyfunction!(unblind, module)?)
}
