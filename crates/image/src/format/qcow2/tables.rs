//! The meaning of L1 and L2 entries.

use super::{Error, Header};

/// Bits 9 to 55: a host offset in an L1 entry or a standard L2 entry.
const OFFSET_MASK: u64 = 0x00FF_FFFF_FFFF_FE00;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;

/// Where the content of one cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cluster {
    /// Nowhere: it reads as zeros.
    Zero,
    /// In the file as it is.
    Plain {
        /// Where.
        offset: u64,
    },
    /// In the file, compressed.
    Compressed {
        /// Where.
        offset: u64,
        /// An upper bound of its length: whole sectors, not beyond the end of the file.
        length: u32,
    },
}

impl Header {
    /// The offset of the L2 table that an L1 entry names, if any, in a file of `size` bytes.
    pub fn l2_table(&self, entry: u64, size: u64) -> Result<Option<u64>, Error> {
        let offset = entry & OFFSET_MASK;
        if offset == 0 {
            return Ok(None);
        }
        self.check("L2 table", offset, self.cluster_size(), size)
            .map(Some)
    }

    /// What an L2 entry says about the cluster at `guest`, in a file of `size` bytes.
    pub fn cluster(&self, entry: u64, guest: u64, size: u64) -> Result<Cluster, Error> {
        if entry & COMPRESSED != 0 {
            return self.compressed(entry, size);
        }
        if entry & ZERO != 0 {
            let known = self.version >= 3;
            return if known {
                Ok(Cluster::Zero)
            } else {
                Err(Error::ZeroFlag { guest })
            };
        }
        match entry & OFFSET_MASK {
            0 => Ok(Cluster::Zero),
            offset => {
                // The file may end where the disk does, inside its last cluster.
                let used = self.virtual_size.saturating_sub(guest);
                let length = self.cluster_size().min(used);
                self.check("data cluster", offset, length, size)?;
                Ok(Cluster::Plain { offset })
            }
        }
    }

    /// The descriptor of a compressed cluster: the offset in the low
    /// `62 - (cluster_bits - 8)` bits, above it the number of 512-byte sectors after the one in which the data begin.
    fn compressed(&self, entry: u64, size: u64) -> Result<Cluster, Error> {
        let sector_bits = self.cluster_bits - 8;
        let offset_bits = 62 - sector_bits;
        let offset = entry & ((1 << offset_bits) - 1);
        let sectors = ((entry >> offset_bits) & ((1 << sector_bits) - 1)) + 1;
        // The last sector of the file need not be complete.
        let end = (offset + sectors * 512 - offset % 512).min(size);
        let length = end
            .checked_sub(offset)
            .and_then(|length| u32::try_from(length).ok());
        match length {
            Some(length) if length > 0 => Ok(Cluster::Compressed { offset, length }),
            _ => Err(Error::OutOfFile {
                what: "compressed cluster",
                offset,
                size,
            }),
        }
    }

    /// Fails unless a cluster may begin at `offset` and its first `length` bytes are in the file.
    fn check(&self, what: &'static str, offset: u64, length: u64, size: u64) -> Result<u64, Error> {
        if !offset.is_multiple_of(self.cluster_size()) {
            return Err(Error::Misaligned { what, offset });
        }
        if offset.saturating_add(length) > size {
            return Err(Error::OutOfFile { what, offset, size });
        }
        Ok(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::cluster::Codec;

    const SIZE: u64 = 1 << 30;

    fn header(version: u32, cluster_bits: u32) -> Header {
        Header {
            version,
            cluster_bits,
            virtual_size: 1 << 30,
            l1_offset: 0,
            l1_entries: 2,
            codec: Codec::Deflate,
            snapshots: 0,
        }
    }

    #[test]
    fn standard_entries() {
        let header = header(3, 16);
        let plain = Ok(Cluster::Plain { offset: 0x50000 });
        assert_eq!(
            header.cluster(0x8000_0000_0005_0000, 0, SIZE).map_err(drop),
            plain
        );
        for zero in [0, 1, 0x8000_0000_0005_0001] {
            assert_eq!(
                header.cluster(zero, 0, SIZE).map_err(drop),
                Ok(Cluster::Zero)
            );
        }
        assert!(matches!(
            header.cluster(0x50200, 0, SIZE),
            Err(Error::Misaligned { .. })
        ));
        assert!(matches!(
            header.cluster(SIZE, 0, SIZE),
            Err(Error::OutOfFile { .. })
        ));
        assert!(matches!(
            header.cluster(0xFF_FFFF << 32, 0, SIZE),
            Err(Error::OutOfFile { .. })
        ));
        assert!(matches!(
            self::header(2, 16).cluster(1, 0, SIZE),
            Err(Error::ZeroFlag { .. })
        ));
    }

    #[test]
    fn the_last_cluster_may_be_cut_where_the_disk_ends() {
        let header = Header {
            virtual_size: (1 << 16) + 512,
            ..header(3, 16)
        };
        let cluster = |guest, size| header.cluster(0x50000, guest, size);
        assert!(cluster(1 << 16, 0x50000 + 512).is_ok());
        assert!(cluster(1 << 16, 0x50000 + 511).is_err());
        assert!(cluster(0, 0x50000 + 65535).is_err());
    }

    #[test]
    fn compressed_entries() {
        let header = header(3, 16);
        let entry = COMPRESSED | (2 << 54) | 0x50010;
        let cluster = header.cluster(entry, 0, SIZE).unwrap();
        assert_eq!(
            cluster,
            Cluster::Compressed {
                offset: 0x50010,
                length: 3 * 512 - 16
            }
        );
        let cluster = header.cluster(entry, 0, 0x50020).unwrap();
        assert_eq!(
            cluster,
            Cluster::Compressed {
                offset: 0x50010,
                length: 16
            }
        );
        assert!(matches!(
            header.cluster(entry, 0, 0x50010),
            Err(Error::OutOfFile { .. })
        ));
        assert!(header.cluster(u64::MAX, 0, u64::MAX).is_ok());
        assert!(self::header(2, 21).cluster(u64::MAX, 0, SIZE).is_err());
        assert!(self::header(2, 9).cluster(u64::MAX, 0, SIZE).is_err());
    }

    #[test]
    fn tables_lie_inside_the_file() {
        let header = header(3, 16);
        assert_eq!(header.l2_table(1 << 63, SIZE).map_err(drop), Ok(None));
        let entry = (1 << 63) | 0x40000;
        assert_eq!(
            header.l2_table(entry, SIZE).map_err(drop),
            Ok(Some(0x40000))
        );
        assert!(header.l2_table(entry, 0x40000 + 65535).is_err());
        assert!(header.l2_table(entry | 0x200, SIZE).is_err());
    }
}
