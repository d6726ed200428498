//! A guest's virtual disk, by name.

use tracer_common::record::vbd;

/// A guest's virtual disk, as people name it: `A xvda` has domain and number.
#[must_use]
pub fn vbd_name(dev: u32) -> String {
    // docs/man/xen-vbd-interface of Xen: 202 << 8 | disk << 4 | partition up to xvdp; from xvdq
    // 1 << 28 | disk << 8 | partition, of which blkback keeps 16 bits; lower ones are IDE and SCSI.
    let (domid, number) = vbd::unpack(dev);
    let number = u32::from(number);
    let (disk, partition) = match number >> 8 {
        202 => (number >> 4 & 0xf, number & 0xf),
        disk @ 16.. => (disk, number & 0xff),
        _ => return format!("domain {domid} vbd {number}"),
    };
    let letter = |digit: u32| char::from(b'a' + u8::try_from(digit % 26).unwrap_or(0));
    let mut name = format!("domain {domid} xvd");
    if disk >= 26 {
        name.push(letter(disk / 26 - 1));
    }
    name.push(letter(disk));
    if partition != 0 {
        name += &partition.to_string();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_disks_have_the_names_of_their_guests() {
        for (number, name) in [
            (202 << 8, "domain 3 xvda"),
            (202 << 8 | 16, "domain 3 xvdb"),
            (202 << 8 | 1, "domain 3 xvda1"),
            (25 << 8, "domain 3 xvdz"),
            (26 << 8 | 2, "domain 3 xvdaa2"),
            (768, "domain 3 vbd 768"),
        ] {
            assert_eq!(vbd_name(vbd::pack(3, number)), name);
        }
    }
}
