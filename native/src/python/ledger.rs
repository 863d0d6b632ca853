//! Signatures in batches, a quick look at JSON, and the tree of the ledger's state.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use super::arrays::seed;
use super::raised;
use crate::ed25519::{self, Claim};
use crate::json;
use crate::sparse::{self, Hash, Missing, Pending, Records, Store};

type Parts = (PyBackedBytes, PyBackedBytes, PyBackedBytes, PyBackedBytes);

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "the claims are held while the interpreter runs on"
)]
fn ed25519_verify(py: Python<'_>, claims: Vec<Parts>, threads: usize) -> PyResult<Vec<bool>> {
    let claims: Vec<_> = claims
        .iter()
        .map(|(public, frame, message, signature)| Claim {
            public,
            frame,
            message,
            signature,
        })
        .collect();
    py.detach(|| ed25519::verify_vartime(&claims, threads))
        .map_err(|fault| raised(py, &fault))
}

#[pyfunction]
fn plain_json(text: &[u8]) -> bool {
    json::is_plain(text)
}

#[pyclass(frozen, module = "parley._native")]
struct SparseNodes {
    records: Mutex<Records>,
}

impl SparseNodes {
    fn held(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SparseNodes {
    #[new]
    fn empty() -> Self {
        Self {
            records: Mutex::default(),
        }
    }

    fn __len__(&self) -> usize {
        self.held().len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, digest: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let found = Store::get(&*self.held(), &seed("digest", digest)?);
        found
            .map(|record| PyBytes::new(py, &record.encoded()))
            .map_err(|missing| unknown(py, &missing))
    }

    fn update<'py>(
        &self,
        py: Python<'py>,
        root: &[u8],
        changes: &Bound<'_, PyDict>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let root = seed("root", root)?;
        let changes = changes
            .iter()
            .map(|(key, value)| Ok((seed("key", key.extract()?)?, value.extract()?)))
            .collect::<PyResult<Vec<(Hash, Option<PyBackedBytes>)>>>()?;
        let changed = py.detach(|| {
            let mut records = self.held();
            let pairs = changes.iter().map(|(key, value)| (*key, value.as_deref()));
            let mut pending = Pending::new(&*records, pairs);
            let changed = pending.applied(root)?;
            let written = pending.written;
            records.extend(written);
            Ok(changed)
        });
        changed
            .map(|root| PyBytes::new(py, &root))
            .map_err(|missing| unknown(py, &missing))
    }

    fn discard(&self, py: Python<'_>, root: &[u8], kept: &[u8]) -> PyResult<usize> {
        let (root, kept) = (seed("root", root)?, seed("kept", kept)?);
        let gone = py.detach(|| {
            let mut records = self.held();
            let gone = sparse::gone(&*records, root, kept)?;
            for digest in &gone {
                records.remove(digest);
            }
            Ok(gone.len())
        });
        gone.map_err(|missing| unknown(py, &missing))
    }
}

fn unknown(py: Python<'_>, missing: &Missing) -> PyErr {
    PyKeyError::new_err(PyBytes::new(py, &missing.0).unbind())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ed25519_verify, module)?)?;
    module.add_function(wrap_pyfunction!(plain_json, module)?)?;
    module.add_class::<SparseNodes>()
}
