//! Gzip: members one behind the other are one file, as `gzip -dc` reads them. Zeros behind the last one are what fills up a block,
//! and mean nothing; anything else there is no part of the data, and may be what is left of it, so it is an error.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first byte of every member.
const MAGIC: u8 = 0x1f;

/// The bytes of all members.
pub(super) struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Members<R> {
    pub(super) fn new(packed: R) -> Self {
        Self(Some(GzDecoder::new(packed)))
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let bytes = member.read(buffer)?;
            if bytes > 0 || buffer.is_empty() {
                return Ok(bytes);
            }
            let Some(member) = self.0.take() else { break };
            let mut packed = member.into_inner();
            match behind(&mut packed)? {
                None => {}
                Some(MAGIC) => self.0 = Some(GzDecoder::new(packed)),
                Some(_) => {
                    let what = "behind its end stands something that is none";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
        }
        Ok(0)
    }
}

/// The first byte behind zeros.
fn behind(packed: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let bytes = packed.fill_buf()?;
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        match (bytes.get(zeros), zeros) {
            (Some(byte), _) => {
                let byte = *byte;
                packed.consume(zeros);
                return Ok(Some(byte));
            }
            (None, 0) => return Ok(None),
            (None, zeros) => packed.consume(zeros),
        }
    }
}
