//! Which packets are followed where not all are: the same in every domain.

/// Whether the packet at `position` of its flow (a TCP sequence number, an IP id) is one of the one in `sample`.
///
/// Positions of a stream are a packet's length apart, so that their bits are mixed first (the finaliser of
/// Appleby's `MurmurHash3`): else runs of packets would be followed, and then long runs not.
#[inline(always)]
#[must_use]
pub const fn is_followed(position: u64, sample: u64) -> bool {
    if sample <= 1 {
        return true;
    }
    let mut mixed = position;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    (mixed ^ (mixed >> 33)).is_multiple_of(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_n_packets_of_a_stream_is_followed_whatever_their_length() {
        const PACKETS: u64 = 20_000;
        for sample in [2u64, 4, 7, 8, 16, 64] {
            for step in [1, 536, 1448, 2896, 16_384, 65_160] {
                let (mut followed, mut run, mut longest) = (0u64, 0u64, 0u64);
                for packet in 0..PACKETS {
                    // A sequence number wraps.
                    let position = u64::from((0xDEAD_BEEF + packet * step) as u32) | 5001 << 32;
                    let is_followed = is_followed(position, sample);
                    followed += u64::from(is_followed);
                    run = if is_followed { 0 } else { run + 1 };
                    longest = longest.max(run);
                }
                let (n, p) = (PACKETS as f64, 1.0 / sample as f64);
                let off = (followed as f64 - n * p) / (n * p * (1.0 - p)).sqrt();
                assert!(off.abs() < 4.0, "1 in {sample}, step {step}: {followed}");
                // So long a run without any has a probability of less than one in a million.
                let unlikely = ((n * 1e6).ln() / -(1.0 - p).ln()).ceil() as u64;
                assert!(longest < unlikely, "1 in {sample}, step {step}: {longest}");
            }
        }
    }

    #[test]
    fn without_a_number_all_are() {
        assert!((0..100).all(|position| is_followed(position, 0) && is_followed(position, 1)));
    }
}
