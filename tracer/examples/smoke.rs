fn main() {
    let k = tracer::platform::Kernel::from_root(std::path::Path::new("/")).unwrap();
    let t = std::time::Instant::now();
    let r = tracer::probe::Request {
        datapaths: std::env::args()
            .nth(1)
            .unwrap()
            .split(',')
            .map(Into::into)
            .collect(),
        aggregate: std::env::args().nth(2).is_some_and(|x| x == "agg"),
        outlier_ns: None,
        ring_bytes: 8 << 20,
        in_flight: 8192,
        devices: vec![],
        bio_based: false,
        ports: vec![],
        sample: 1,
    };
    let mut a = tracer::probe::attach::attach(&k, &r).unwrap_or_else(|e| {
        println!("{e}");
        std::process::exit(1)
    });
    println!(
        "attach {:?} total {:?}",
        std::time::Duration::from_nanos(a.attach_ns),
        t.elapsed()
    );
    for u in &a.unavailable {
        println!("unavailable {u:?}")
    }
    let mut d = tracer::probe::drain::Drain::new(&mut a.ebpf).unwrap();
    let mut v = vec![];
    let mut n = 0;
    let mut shown = 0;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(8);
    while std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(10));
        v.clear();
        d.fill(&mut v, 64 << 20);
        let mut b = &v[..];
        while let Some((r, l)) = tracer_common::record::Record::decode(b) {
            n += 1;
            b = &b[l..];
            if n % 50000 == 7 || shown < 8 {
                shown += 1;
                let k = tracer_common::point::Kind::from_u8(r.kind).unwrap();
                let base = r.at.iter().find(|x| **x != 0).unwrap();
                println!(
                    "{:?} op{} flags {:x} dev {:x} pos {} bytes {} tid {} irq {} {:?}",
                    k,
                    r.op,
                    r.flags,
                    r.dev,
                    r.position,
                    r.bytes,
                    r.tid,
                    r.irq,
                    k.points()
                        .iter()
                        .zip(r.at)
                        .filter(|x| x.1 != 0)
                        .map(|(p, t)| format!("{}+{}", p.name(), t as i64 - *base as i64))
                        .collect::<Vec<_>>()
                )
            }
        }
    }
    let s = tracer::probe::snapshot::take(&a.ebpf);
    println!("records {n} {:?}", s.counters);
    for i in &s.irqs {
        println!(
            "{} {} n{} t{}",
            i.irq,
            i.name,
            i.count,
            i.time_sum / i.count.max(1)
        )
    }
    let em = s.counters["emitted"].max(s.counters["aggregated"]).max(1);
    let mut tot = 0;
    for c in &s.costs {
        if c.runs > 0 {
            tot += c.run_ns;
            println!(
                "{} runs {} ns {} per-req {}",
                c.name,
                c.runs,
                c.run_ns / c.runs,
                c.run_ns / em
            )
        }
    }
    println!("BPF ns/req {}", tot / em);
    for g in &s.groups {
        println!(
            "dev{} op{} n{} mean {} stages {:?}",
            g.device,
            g.operation,
            g.count,
            g.total_sum / g.count,
            g.stages
                .iter()
                .map(|s| (s.pair, s.count, s.sum / s.count))
                .collect::<Vec<_>>()
        )
    }
}
