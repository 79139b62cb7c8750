//! Building and opening register files: `cargo bench --bench register`.
//!
//! The size is 1 million recipients, or `NABAR_BENCH_RECIPIENTS`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nabar::extract;
use nabar::snapshot::Snapshot;
use std::fs;

mod support;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn register(criterion: &mut Criterion) {
    let size = support::size(1_000_000);
    for (kind, data) in [("FaR", support::Data::far(size, 1000)), ("KRR", support::Data::krr(size, 1000))] {
        let mut group = criterion.benchmark_group(format!("register of {kind}"));
        group.throughput(Throughput::Elements(size as u64)).sample_size(10);
        let again = data.directory.join("again.nabar");
        group.bench_function("building", |bencher| {
            bencher.iter(|| {
                extract::build(&data.extract, &again, &nabar::extract::BuildOptions::strict())
                    .expect("a register")
            });
            assert!(
                fs::read(&again).expect("a register") == fs::read(&data.register).expect("a register"),
                "building twice gives the same file"
            );
        });
        group.bench_function("opening", |bencher| {
            bencher.iter(|| assert_eq!(data.open().recipients() as usize, size));
        });
        group.bench_function("opening, and its content digest", |bencher| {
            let expected = data.open().content().expect("undamaged");
            bencher.iter(|| assert_eq!(data.open().content().expect("undamaged"), expected));
        });
        group.bench_function("verifying", |bencher| {
            bencher.iter(|| assert!(Snapshot::open(&data.register).expect("a file").verify().is_empty()));
        });
    }
}

criterion_group!(benches, register);
criterion_main!(benches);
