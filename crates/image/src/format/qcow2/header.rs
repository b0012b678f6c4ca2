//! The qcow2 header: everything that is decided before a table is read.

use super::Error;
use crate::{codec::cluster::Codec, format::detect, limits};

/// The length of a version 2 header, and the smallest of a version 3 header.
const V2_LENGTH: usize = 72;
const V3_LENGTH: usize = 104;

/// `QFI\xFB`.
const MAGIC: u32 = 0x5146_49FB;

/// Incompatible feature bits.
mod feature {
    /// Reference counts may be stale, which does not matter for reading.
    pub(super) const DIRTY: u64 = 1 << 0;
    pub(super) const CORRUPT: u64 = 1 << 1;
    pub(super) const EXTERNAL_DATA: u64 = 1 << 2;
    pub(super) const COMPRESSION_TYPE: u64 = 1 << 3;
    pub(super) const EXTENDED_L2: u64 = 1 << 4;
    pub(super) const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;
}

/// A header that has been found acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The cluster size as a power of two, 9 to 21.
    pub cluster_bits: u32,
    /// The size of the disk in bytes.
    pub virtual_size: u64,
    /// Where the L1 table begins.
    pub l1_offset: u64,
    /// How many of its entries the disk needs.
    pub l1_entries: u64,
    /// How compressed clusters are compressed.
    pub codec: Codec,
    /// How many internal snapshots there are. They are not read.
    pub snapshots: u32,
}

impl Header {
    /// Parses and judges the first bytes of an image, of which `head` holds up to
    /// [`limits::HEAD_BYTES`].
    pub fn parse(head: &[u8]) -> Result<Self, Error> {
        let fields = Fields { head };
        if fields.u32(0)? != MAGIC {
            return Err(Error::Magic);
        }
        let version = fields.u32(4)?;
        if !(2..=3).contains(&version) {
            return Err(Error::Version(version));
        }
        let cluster_bits = fields.u32(20)?;
        if !(9..=21).contains(&cluster_bits) {
            return Err(Error::ClusterBits(cluster_bits));
        }
        let codec = if version == 2 {
            Codec::Deflate
        } else {
            fields.features(cluster_bits)?
        };
        fields.refuse_dependencies()?;
        let virtual_size = fields.u64(24)?;
        if virtual_size > limits::MAX_VIRTUAL_SIZE {
            return Err(Error::VirtualSize {
                size: virtual_size,
                limit: limits::MAX_VIRTUAL_SIZE,
            });
        }
        let header = Self {
            version,
            cluster_bits,
            virtual_size,
            l1_offset: fields.u64(40)?,
            l1_entries: fields.l1_entries(virtual_size, cluster_bits)?,
            codec,
            snapshots: fields.u32(60)?,
        };
        header.check_l1_offset()?;
        Ok(header)
    }

    /// The cluster size in bytes.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// How many entries an L2 table has.
    pub fn l2_entries(&self) -> u64 {
        self.cluster_size() / 8
    }

    /// Fails if the L1 table is not inside a file of `size` bytes.
    pub(super) fn check_size(&self, size: u64) -> Result<(), Error> {
        let inside = self
            .l1_offset
            .checked_add(self.l1_entries * 8)
            .is_some_and(|end| end <= size);
        if inside {
            return Ok(());
        }
        Err(Error::OutOfFile {
            what: "L1 table",
            offset: self.l1_offset,
            size,
        })
    }

    fn check_l1_offset(&self) -> Result<(), Error> {
        if self.l1_entries > 0 && !self.l1_offset.is_multiple_of(self.cluster_size()) {
            return Err(Error::Misaligned {
                what: "L1 table",
                offset: self.l1_offset,
            });
        }
        Ok(())
    }
}

/// Big-endian fields at fixed offsets.
struct Fields<'a> {
    head: &'a [u8],
}

impl Fields<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> Result<[u8; N], Error> {
        self.head
            .get(offset..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .ok_or(Error::HeaderCut {
                length: self.head.len(),
            })
    }

    fn u32(&self, offset: usize) -> Result<u32, Error> {
        self.bytes(offset).map(u32::from_be_bytes)
    }

    fn u64(&self, offset: usize) -> Result<u64, Error> {
        self.bytes(offset).map(u64::from_be_bytes)
    }

    /// The fields that only version 3 has.
    fn features(&self, cluster_bits: u32) -> Result<Codec, Error> {
        let length = self.u32(100)?;
        let length_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if length_bytes < V3_LENGTH || length > 1 << cluster_bits {
            return Err(Error::HeaderLength(length));
        }
        let incompatible = self.u64(72)?;
        if incompatible & !feature::KNOWN != 0 {
            return Err(Error::UnknownFeatures(incompatible & !feature::KNOWN));
        }
        if incompatible & feature::CORRUPT != 0 {
            return Err(Error::Corrupt);
        }
        if incompatible & feature::EXTERNAL_DATA != 0 {
            return Err(Error::ExternalData);
        }
        if incompatible & feature::EXTENDED_L2 != 0 {
            return Err(Error::ExtendedL2);
        }
        let [compression] = if length_bytes > V3_LENGTH {
            self.bytes(V3_LENGTH)?
        } else {
            [0]
        };
        match (compression, incompatible & feature::COMPRESSION_TYPE != 0) {
            (0, false) => Ok(Codec::Deflate),
            (1, true) => Ok(Codec::Zstd),
            _ => Err(Error::CompressionType(compression)),
        }
    }

    /// Refuses what would make the image read another file, or need a key.
    fn refuse_dependencies(&self) -> Result<(), Error> {
        if self.head.len() < V2_LENGTH {
            return Err(Error::HeaderCut {
                length: self.head.len(),
            });
        }
        match self.u32(32)? {
            0 => {}
            method => return Err(Error::Encrypted(method)),
        }
        let (offset, length) = (self.u64(8)?, self.u32(16)?);
        if offset == 0 {
            return Ok(());
        }
        let name = usize::try_from(offset).ok().and_then(|start| {
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            self.head.get(start..end)
        });
        Err(Error::BackingFile {
            name: detect::excerpt(name.unwrap_or_default()),
        })
    }

    /// How many L1 entries the disk needs; the table must have them.
    fn l1_entries(&self, virtual_size: u64, cluster_bits: u32) -> Result<u64, Error> {
        let entries = self.u32(36)?;
        let limit = limits::MAX_L1_BYTES / 8;
        if u64::from(entries) > limit {
            return Err(Error::L1TooBig { entries, limit });
        }
        // One L2 table maps cluster_size / 8 clusters.
        let needed = virtual_size.div_ceil(1 << (2 * cluster_bits - 3));
        if needed > u64::from(entries) {
            return Err(Error::L1TooSmall { entries, needed });
        }
        Ok(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A valid version 3 header of a 1 GiB disk.
    fn header() -> Vec<u8> {
        let mut head = vec![0; 512];
        let mut put = |offset: usize, bytes: &[u8]| {
            head[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, b"QFI\xFB");
        put(4, &3_u32.to_be_bytes());
        put(20, &16_u32.to_be_bytes());
        put(24, &(1_u64 << 30).to_be_bytes());
        put(36, &2_u32.to_be_bytes());
        put(40, &0x30000_u64.to_be_bytes());
        put(100, &112_u32.to_be_bytes());
        head
    }

    fn changed(offset: usize, bytes: &[u8]) -> Result<Header, Error> {
        let mut head = header();
        head[offset..offset + bytes.len()].copy_from_slice(bytes);
        Header::parse(&head)
    }

    #[test]
    fn a_plain_header_is_accepted() {
        let header = Header::parse(&header()).unwrap();
        assert_eq!((header.virtual_size, header.l1_entries), (1 << 30, 2));
        assert_eq!(
            (header.cluster_size(), header.codec),
            (65536, Codec::Deflate)
        );
        assert!(header.check_size(0x30000 + 16).is_ok());
        assert!(matches!(
            header.check_size(0x30000 + 15),
            Err(Error::OutOfFile { .. })
        ));
    }

    #[test]
    fn a_dirty_image_is_read_and_a_corrupt_one_is_not() {
        assert!(changed(79, &[1]).is_ok());
        assert!(matches!(changed(79, &[2]), Err(Error::Corrupt)));
    }

    #[test]
    fn other_files_are_never_named() {
        let error = changed(
            8,
            &[&300_u64.to_be_bytes()[..], &20_u32.to_be_bytes()].concat(),
        );
        assert!(matches!(error, Err(Error::BackingFile { .. })));
        let mut head = header();
        head[8..16].copy_from_slice(&300_u64.to_be_bytes());
        head[16..20].copy_from_slice(&11_u32.to_be_bytes());
        head[300..311].copy_from_slice(b"/etc/passwd");
        let error = Header::parse(&head).unwrap_err().to_string();
        assert!(
            error.contains("invalid backing file \"/etc/passwd\""),
            "{error}"
        );
        let far = changed(
            8,
            &[&u64::MAX.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat(),
        );
        assert!(matches!(far, Err(Error::BackingFile { .. })));
        assert!(matches!(changed(79, &[4]), Err(Error::ExternalData)));
    }

    #[test]
    fn features_are_known_or_refused() {
        assert!(matches!(changed(79, &[0x10]), Err(Error::ExtendedL2)));
        assert!(
            matches!(changed(72, &[0x80]), Err(Error::UnknownFeatures(bits)) if bits == 1 << 63)
        );
        assert!(matches!(
            changed(79, &[0x20]),
            Err(Error::UnknownFeatures(0x20))
        ));
        assert!(matches!(changed(79, &[8]), Err(Error::CompressionType(0))));
        assert!(matches!(changed(104, &[1]), Err(Error::CompressionType(1))));
        assert!(matches!(
            changed(32, &1_u32.to_be_bytes()),
            Err(Error::Encrypted(1))
        ));
        assert!(matches!(
            changed(32, &2_u32.to_be_bytes()),
            Err(Error::Encrypted(2))
        ));
        let mut zstd = header();
        (zstd[79], zstd[104]) = (8, 1);
        assert_eq!(Header::parse(&zstd).unwrap().codec, Codec::Zstd);
    }

    #[test]
    fn numbers_are_bounded() {
        assert!(matches!(
            changed(4, &1_u32.to_be_bytes()),
            Err(Error::Version(1))
        ));
        assert!(matches!(
            changed(4, &4_u32.to_be_bytes()),
            Err(Error::Version(4))
        ));
        for bits in [0_u32, 8, 22, u32::MAX] {
            assert!(matches!(
                changed(20, &bits.to_be_bytes()),
                Err(Error::ClusterBits(_))
            ));
        }
        for length in [0_u32, 103, 65537, u32::MAX] {
            assert!(matches!(
                changed(100, &length.to_be_bytes()),
                Err(Error::HeaderLength(_))
            ));
        }
        assert!(matches!(
            changed(24, &u64::MAX.to_be_bytes()),
            Err(Error::VirtualSize { .. })
        ));
        assert!(matches!(
            changed(36, &1_u32.to_be_bytes()),
            Err(Error::L1TooSmall { .. })
        ));
        assert!(matches!(
            changed(40, &0x30001_u64.to_be_bytes()),
            Err(Error::Misaligned { .. })
        ));
        let huge = changed(36, &(1_u32 << 31).to_be_bytes())
            .unwrap_err()
            .to_string();
        assert!(huge.contains("L1 size too big"), "{huge}");
    }

    #[test]
    fn every_cut_header_is_an_error() {
        for length in 0..V3_LENGTH {
            assert!(Header::parse(&header()[..length]).is_err(), "{length}");
        }
    }
}
