//! `SecretKey` and `PublicKey`.

use std::sync::{Mutex, PoisonError};

use numpy::PyArrayDyn;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arrays::{Dim, Input, grouped, output, seed};
use super::{batch, raised, spare_batch};
use crate::elgamal;

/// The secrets s₁…s_k; zeroised on drop, shown by nothing.
#[pyclass(frozen, module = "parley._native")]
struct SecretKey {
    key: elgamal::SecretKey,
}

/// The public points P₁…P_k.
#[pyclass(frozen, module = "parley._native")]
pub struct PublicKey {
    pub key: elgamal::PublicKey,
}

/// Encryptions of zero that wait for their messages, once; zeroised on drop.
#[pyclass(frozen, module = "parley._native")]
struct Masks {
    k: usize,
    rows: usize,
    masks: Mutex<Option<elgamal::Masks>>,
}

/// Refuses row indices that would wrap.
pub fn check_first(first: u64, rows: usize) -> PyResult<()> {
    match first.checked_add(rows as u64) {
        Some(_) => Ok(()),
        None => Err(PyValueError::new_err(format!(
            "first: expected first + {rows} rows below 2^64, got {first}"
        ))),
    }
}

#[pymethods]
impl SecretKey {
    #[staticmethod]
    fn generate(py: Python<'_>, k: usize) -> PyResult<Self> {
        let key = elgamal::SecretKey::generate(k).map_err(|fault| raised(py, &fault))?;
        Ok(Self { key })
    }

    #[staticmethod]
    #[pyo3(name = "from_seed", signature = (k, seed))]
    fn derive(py: Python<'_>, k: usize, seed: &[u8]) -> PyResult<Self> {
        let bytes = self::seed("seed", seed)?;
        let key = elgamal::SecretKey::from_seed(k, &bytes).map_err(|fault| raised(py, &fault))?;
        Ok(Self { key })
    }

    #[getter]
    fn k(&self) -> usize {
        self.key.k()
    }

    fn public(&self) -> PublicKey {
        PublicKey {
            key: self.key.public(),
        }
    }

    #[pyo3(signature = (messages, seed, first, threads))]
    fn encrypt(
        &self,
        messages: &Bound<'_, PyAny>,
        seed: &[u8],
        first: u64,
        threads: usize,
    ) -> PyResult<Py<PyArrayDyn<u8>>> {
        let py = messages.py();
        let k = self.key.k();
        let messages = Input::<i32>::checked("messages", messages, &[Dim::Free("n"), Dim::Is(k)])?;
        let bytes = self::seed("seed", seed)?;
        check_first(first, messages.size(0))?;
        let rows = messages.elements()?;
        let encodings = batch(py, threads, || self.key.encrypt(rows, &bytes, first))?;
        output(
            py,
            encodings.into_flattened(),
            &[messages.size(0), k + 1, 32],
        )
    }

    #[pyo3(signature = (rows, seed, first, threads))]
    fn masks(
        &self,
        py: Python<'_>,
        rows: usize,
        seed: &[u8],
        first: u64,
        threads: usize,
    ) -> PyResult<Masks> {
        let bytes = self::seed("seed", seed)?;
        check_first(first, rows)?;
        let masks = spare_batch(py, threads, || self.key.masks(rows, &bytes, first))?;
        Ok(Masks {
            k: self.key.k(),
            rows,
            masks: Mutex::new(Some(masks)),
        })
    }

    fn decrypt(
        &self,
        ciphertexts: &Bound<'_, PyAny>,
        bounds: &Bound<'_, PyAny>,
        threads: usize,
    ) -> PyResult<Py<PyArrayDyn<i64>>> {
        let py = ciphertexts.py();
        let k = self.key.k();
        let shape = [Dim::Free("n"), Dim::Is(k + 1), Dim::Is(32)];
        let ciphertexts = Input::<u8>::checked("ciphertexts", ciphertexts, &shape)?;
        let n = ciphertexts.size(0);
        let bounds = Input::<i64>::checked("bounds", bounds, &[Dim::Is(n), Dim::Is(k)])?;
        let (encodings, within) = (grouped(ciphertexts.elements()?), bounds.elements()?);
        let messages = batch(py, threads, || self.key.decrypt(encodings, within))?;
        output(py, messages, &[n, k])
    }

    fn __repr__(&self) -> String {
        format!("SecretKey(k={}, redacted)", self.key.k())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("a SecretKey cannot be pickled"))
    }
}

#[pymethods]
impl Masks {
    fn encrypt(
        &self,
        messages: &Bound<'_, PyAny>,
        bound: u32,
        threads: usize,
    ) -> PyResult<Py<PyArrayDyn<u8>>> {
        let py = messages.py();
        let (n, k) = (self.rows, self.k);
        let messages = Input::<i32>::checked("messages", messages, &[Dim::Is(n), Dim::Is(k)])?;
        let rows = messages.elements()?;
        let unused = self
            .masks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(masks) = unused else {
            return Err(PyValueError::new_err(
                "masks: these have encrypted messages already, and must not again",
            ));
        };
        let encodings = batch(py, threads, || masks.encrypt(rows, bound))?;
        output(py, encodings.into_flattened(), &[n, k + 1, 32])
    }

    fn __len__(&self) -> usize {
        self.rows
    }

    fn __repr__(&self) -> String {
        format!("Masks(k={}, rows={}, redacted)", self.k, self.rows)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("Masks cannot be pickled"))
    }
}

#[pymethods]
impl PublicKey {
    #[getter]
    fn k(&self) -> usize {
        self.key.k()
    }

    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.key.encode())
    }

    #[staticmethod]
    fn decode(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let key = elgamal::PublicKey::decode(data).map_err(|fault| raised(py, &fault))?;
        Ok(Self { key })
    }

    fn __repr__(&self) -> String {
        format!("PublicKey(k={})", self.key.k())
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SecretKey>()?;
    module.add_class::<Masks>()?;
    module.add_class::<PublicKey>()
}
