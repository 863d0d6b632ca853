//! `Ciphertexts`, `EncryptedSums` and the two histograms.

use numpy::PyArrayDyn;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::{Dim, Input, grouped, output, seed};
use super::batch;
use super::encryption::{PublicKey, check_first};
use crate::bins::BinnedColumns;
use crate::elgamal::MOST_MESSAGES;
use crate::{ciphertexts, histogram, plain, sums};

/// Decoded ciphertext rows in the layout the histogram wants.
#[pyclass(module = "parley._native")]
struct Ciphertexts {
    rows: ciphertexts::Ciphertexts,
}

/// Sums of ciphertexts, one element per bin.
#[pyclass(frozen, module = "parley._native")]
struct EncryptedSums {
    sums: sums::EncryptedSums,
}

#[pymethods]
impl Ciphertexts {
    #[new]
    fn new(k: usize, capacity: usize) -> PyResult<Self> {
        if !(1..=MOST_MESSAGES).contains(&k) {
            return Err(PyValueError::new_err(format!(
                "k: expected 1..={MOST_MESSAGES} messages, got {k}"
            )));
        }
        if u32::try_from(capacity).is_err() {
            return Err(PyValueError::new_err(format!(
                "capacity: expected at most 2^32 - 1 rows, got {capacity}"
            )));
        }
        let rows = ciphertexts::Ciphertexts::new(k, capacity);
        Ok(Self { rows })
    }

    #[getter]
    fn k(&self) -> usize {
        self.rows.k()
    }

    fn append(&mut self, block: &Bound<'_, PyAny>, threads: usize) -> PyResult<()> {
        let shape = [Dim::Free("b"), Dim::Is(self.rows.k() + 1), Dim::Is(32)];
        let py = block.py();
        let block = Input::<u8>::checked("block", block, &shape)?;
        let encodings = grouped(block.elements()?);
        batch(py, threads, || self.rows.append(encodings))
    }

    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn __repr__(&self) -> String {
        format!("Ciphertexts(k={}, rows={})", self.rows.k(), self.rows.len())
    }
}

#[pymethods]
impl EncryptedSums {
    #[getter]
    fn k(&self) -> usize {
        self.sums.k()
    }

    fn __len__(&self) -> usize {
        self.sums.len()
    }

    fn merge(
        &self,
        groups: &Bound<'_, PyAny>,
        group_count: usize,
        threads: usize,
    ) -> PyResult<Self> {
        let py = groups.py();
        if u32::try_from(group_count).is_err() {
            return Err(PyValueError::new_err(format!(
                "group_count: expected at most 2^32 - 1, got {group_count}"
            )));
        }
        let groups = Input::<u32>::checked("groups", groups, &[Dim::Is(self.sums.len())])?;
        let targets = groups.elements()?;
        let sums = batch(py, threads, || self.sums.merge(targets, group_count))?;
        Ok(Self { sums })
    }

    #[pyo3(signature = (public, seed, first, threads))]
    fn rerandomised(
        &self,
        py: Python<'_>,
        public: &PublicKey,
        seed: &[u8],
        first: u64,
        threads: usize,
    ) -> PyResult<Py<PyArrayDyn<u8>>> {
        let bytes = self::seed("seed", seed)?;
        check_first(first, self.sums.len())?;
        let encodings = batch(py, threads, || {
            self.sums.rerandomised(&public.key, &bytes, first)
        })?;
        self.shaped(py, encodings)
    }

    fn encoded(&self, py: Python<'_>, threads: usize) -> PyResult<Py<PyArrayDyn<u8>>> {
        let encodings = batch(py, threads, || self.sums.encoded())?;
        self.shaped(py, encodings)
    }

    fn __repr__(&self) -> String {
        format!(
            "EncryptedSums(k={}, elements={})",
            self.sums.k(),
            self.sums.len()
        )
    }
}

impl EncryptedSums {
    fn shaped(&self, py: Python<'_>, encodings: Vec<[u8; 32]>) -> PyResult<Py<PyArrayDyn<u8>>> {
        let shape = [self.sums.len(), self.sums.k() + 1, 32];
        output(py, encodings.into_flattened(), &shape)
    }
}

#[pyfunction]
fn encrypted_histogram(
    py: Python<'_>,
    rows: &Ciphertexts,
    bins: &Bound<'_, PyAny>,
    bin_counts: &Bound<'_, PyAny>,
    subset: &Bound<'_, PyAny>,
    threads: usize,
) -> PyResult<EncryptedSums> {
    let bins = Input::<u8>::checked("bins", bins, &[Dim::Free("columns"), Dim::Free("rows")])?;
    let counts = Input::<u32>::checked("bin_counts", bin_counts, &[Dim::Is(bins.size(0))])?;
    let subset = Input::<u32>::checked("subset", subset, &[Dim::Free("s")])?;
    let (codes, n) = (bins.elements()?, bins.size(1));
    let (counts, subset) = (counts.elements()?, subset.elements()?);
    let sums = batch(py, threads, || {
        let columns = BinnedColumns::checked(codes, n, counts, subset, rows.rows.len())?;
        histogram::encrypted(&rows.rows, &columns, subset)
    })?;
    Ok(EncryptedSums { sums })
}

#[pyfunction]
fn plain_histogram(
    bins: &Bound<'_, PyAny>,
    bin_counts: &Bound<'_, PyAny>,
    messages: &Bound<'_, PyAny>,
    subset: &Bound<'_, PyAny>,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<i64>>> {
    let py = bins.py();
    let bins = Input::<u8>::checked("bins", bins, &[Dim::Free("columns"), Dim::Free("rows")])?;
    let counts = Input::<u32>::checked("bin_counts", bin_counts, &[Dim::Is(bins.size(0))])?;
    let shape = [Dim::Is(bins.size(1)), Dim::Free("k")];
    let messages = Input::<i32>::checked("messages", messages, &shape)?;
    let subset = Input::<u32>::checked("subset", subset, &[Dim::Free("s")])?;
    let (codes, n, k) = (bins.elements()?, bins.size(1), messages.size(1));
    let (counts, values, subset) = (counts.elements()?, messages.elements()?, subset.elements()?);
    let sums = batch(py, threads, || {
        let columns = BinnedColumns::placed(codes, n, counts, subset, n)?;
        plain::histogram(&columns, values, k, subset)
    })?;
    let total = sums.len() / (k + 1);
    output(py, sums, &[total, k + 1])
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Ciphertexts>()?;
    module.add_class::<EncryptedSums>()?;
    module.add_function(wrap_pyfunction!(encrypted_histogram, module)?)?;
    module.add_function(wrap_pyfunction!(plain_histogram, module)?)
}
