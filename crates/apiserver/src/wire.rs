//! The protobuf wire format, both ways: what of it needs no schema
//! (Protocol Buffers documentation, "Encoding").

/// Bytes that do not follow the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a well-formed protobuf message")]
pub(crate) struct Malformed;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// The content of a field, by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes a message apart, field by field.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next field, with its number; none at the end.
    pub(crate) fn field(&mut self) -> Result<Option<(u64, Content<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let content = match key & 7 {
            VARINT => Content::Number(self.number()?),
            FIXED_64 => Content::Bytes(self.bytes(8)?),
            LENGTH_DELIMITED => {
                let length = self.number()?;
                Content::Bytes(self.bytes(length)?)
            }
            FIXED_32 => Content::Bytes(self.bytes(4)?),
            _ => return Err(Malformed),
        };
        Ok(Some((key >> 3, content)))
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A variable-length number.
    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }
}

/// A message in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// Adds a string field.
    pub(crate) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    /// Adds a field that is a message.
    pub(crate) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// Adds a boolean field.
    pub(crate) fn flag(mut self, field: u64, flag: bool) -> Self {
        self.number(field << 3 | VARINT);
        self.number(flag.into());
        self
    }

    /// Adds an integer field.
    pub(crate) fn integer(mut self, field: u64, number: u64) -> Self {
        self.number(field << 3 | VARINT);
        self.number(number);
        self
    }

    /// Adds a field that is a double.
    pub(crate) fn double(mut self, field: u64, number: f64) -> Self {
        self.number(field << 3 | FIXED_64);
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// The message as it is sent.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.number(field << 3 | LENGTH_DELIMITED);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number in 1..1_u64 << 29,
            text in ".{0,300}",
            flag: bool,
        ) {
            let inner = Message::default().flag(number, flag);
            let bytes = Message::default().text(number, &text).message(1, &inner).into_bytes();
            let mut reader = Reader(&bytes);
            let expected = (number, Content::Bytes(text.as_bytes()));
            prop_assert_eq!(reader.field(), Ok(Some(expected)));
            let Ok(Some((1, Content::Bytes(inner)))) = reader.field() else {
                return Err(TestCaseError::fail("the inner message is missing"));
            };
            prop_assert_eq!(reader.field(), Ok(None));
            let expected = (number, Content::Number(flag.into()));
            prop_assert_eq!(Reader(inner).field(), Ok(Some(expected)));
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader(&bytes);
            while let Ok(Some(_)) = reader.field() {}
        }
    }
}
