//! Decompression of SPDY's header blocks: DEFLATE (RFC 1951) in one zlib stream (RFC 1950) for a whole connection,
//! with SPDY's own dictionary, flushed at the end of each block.

/// The text that every connection begins with (SPDY/3, 2.6.10.1).
const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");
/// How far back a copy may reach.
const WINDOW: usize = 32 * 1024;
/// No header block is longer; what says that it is, is refused.
const LONGEST: usize = 1 << 20;

/// What came is no such stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// The headers of one direction of a connection.
pub struct Inflate {
    window: Vec<u8>,
    begun: bool,
}

impl Default for Inflate {
    fn default() -> Inflate {
        Inflate {
            window: DICTIONARY.to_vec(),
            begun: false,
        }
    }
}

impl Inflate {
    /// Decompresses one flushed piece.
    ///
    /// # Errors
    /// It is none, or has another dictionary.
    pub fn read(&mut self, data: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut bits = Bits {
            data,
            at: 0,
            held: 0,
            count: 0,
        };
        if !self.begun {
            let [method, flags, id @ ..] = data.get(..6).ok_or(Broken)? else {
                return Err(Broken);
            };
            let is_zlib =
                method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0;
            let has_dictionary = flags & 0x20 != 0;
            if !is_zlib || !has_dictionary || id != adler32(DICTIONARY).to_be_bytes() {
                return Err(Broken);
            }
            self.begun = true;
            bits.at = 6;
        }
        let start = self.window.len();
        while !bits.at_end() {
            self.block(&mut bits, start)?;
        }
        let out = self.window[start..].to_vec();
        let old = self.window.len().saturating_sub(WINDOW);
        self.window.drain(..old);
        Ok(out)
    }

    fn block(&mut self, bits: &mut Bits<'_>, start: usize) -> Result<(), Broken> {
        let _last = bits.take(1)?;
        match bits.take(2)? {
            0 => {
                let (length, check) = bits.stored()?;
                if length != !check {
                    return Err(Broken);
                }
                let data = bits.bytes(usize::from(length))?;
                self.window.extend_from_slice(data);
                Ok(())
            }
            1 => self.codes(bits, start, &fixed_literals()?, &Codes::new(&[5; 30])?),
            2 => {
                let (literals, distances) = dynamic(bits)?;
                self.codes(bits, start, &literals, &distances)
            }
            _ => Err(Broken),
        }
    }

    fn codes(
        &mut self,
        bits: &mut Bits<'_>,
        start: usize,
        literals: &Codes,
        distances: &Codes,
    ) -> Result<(), Broken> {
        loop {
            if self.window.len() - start > LONGEST {
                return Err(Broken);
            }
            let symbol = literals.read(bits)?;
            match symbol {
                0..=255 => self.window.push(u8::try_from(symbol).map_err(|_| Broken)?),
                256 => return Ok(()),
                _ => {
                    let at = usize::from(symbol) - 257;
                    let (base, extra) = *LENGTHS.get(at).ok_or(Broken)?;
                    let length = usize::from(base) + bits.take(extra)?;
                    let at = usize::from(distances.read(bits)?);
                    let (base, extra) = *DISTANCES.get(at).ok_or(Broken)?;
                    let distance = usize::from(base) + bits.take(extra)?;
                    let from = self.window.len().checked_sub(distance).ok_or(Broken)?;
                    for i in from..from + length {
                        self.window.push(self.window[i]);
                    }
                }
            }
        }
    }
}

/// Base and extra bits of the lengths (RFC 1951, 3.2.5).
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// Base and extra bits of the distances.
const DISTANCES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

fn fixed_literals() -> Result<Codes, Broken> {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    Codes::new(&lengths)
}

fn dynamic(bits: &mut Bits<'_>) -> Result<(Codes, Codes), Broken> {
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let literals = bits.take(5)? + 257;
    let distances = bits.take(5)? + 1;
    let count = bits.take(4)? + 4;
    let mut lengths = [0; 19];
    for place in &ORDER[..count] {
        lengths[*place] = u8::try_from(bits.take(3)?).map_err(|_| Broken)?;
    }
    let codes = Codes::new(&lengths)?;
    let mut all: Vec<u8> = Vec::with_capacity(literals + distances);
    while all.len() < literals + distances {
        let symbol = codes.read(bits)?;
        let (value, times) = match symbol {
            0..=15 => (u8::try_from(symbol).map_err(|_| Broken)?, 1),
            16 => (*all.last().ok_or(Broken)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            _ => (0, 11 + bits.take(7)?),
        };
        all.extend(std::iter::repeat_n(value, times));
    }
    if all.len() != literals + distances {
        return Err(Broken);
    }
    Ok((Codes::new(&all[..literals])?, Codes::new(&all[literals..])?))
}

/// A canonical Huffman code.
struct Codes {
    /// How many codes there are of each length.
    counts: [u16; 16],
    /// Symbols in the order of their codes.
    symbols: Vec<u16>,
}

impl Codes {
    fn new(lengths: &[u8]) -> Result<Codes, Broken> {
        let mut counts = [0; 16];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        counts[0] = 0;
        let mut left = 1_i32;
        for count in &counts[1..] {
            left = left * 2 - i32::from(*count);
            if left < 0 {
                return Err(Broken);
            }
        }
        let mut offsets = [0_u16; 17];
        for length in 1..16 {
            offsets[length + 1] = offsets[length] + counts[length];
        }
        let mut symbols = vec![0; lengths.len()];
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, l)| **l > 0) {
            let offset = &mut offsets[usize::from(*length)];
            symbols[usize::from(*offset)] = u16::try_from(symbol).map_err(|_| Broken)?;
            *offset += 1;
        }
        Ok(Codes { counts, symbols })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<u16, Broken> {
        let (mut code, mut first, mut index) = (0_i32, 0_i32, 0_i32);
        for count in &self.counts[1..] {
            code |= i32::from(bits.bit()?);
            let count = i32::from(*count);
            if code - count < first {
                let at = usize::try_from(index + (code - first)).map_err(|_| Broken)?;
                return self.symbols.get(at).copied().ok_or(Broken);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Broken)
    }
}

/// Bits from the lowest on.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    held: u8,
    count: u8,
}

impl<'a> Bits<'a> {
    /// Whether only what is left of the last byte is there; a flush ends on a whole byte.
    fn at_end(&self) -> bool {
        self.at == self.data.len()
    }

    fn bit(&mut self) -> Result<u8, Broken> {
        if self.count == 0 {
            self.held = *self.data.get(self.at).ok_or(Broken)?;
            self.at += 1;
            self.count = 8;
        }
        let bit = self.held & 1;
        self.held >>= 1;
        self.count -= 1;
        Ok(bit)
    }

    fn take(&mut self, count: u8) -> Result<usize, Broken> {
        let mut value = 0;
        for place in 0..count {
            value |= usize::from(self.bit()?) << place;
        }
        Ok(value)
    }

    /// The two numbers of a stored block, which begin on a whole byte.
    fn stored(&mut self) -> Result<(u16, u16), Broken> {
        self.count = 0;
        let numbers = self.bytes(4)?;
        let number = |at: usize| u16::from_le_bytes([numbers[at], numbers[at + 1]]);
        Ok((number(0), number(2)))
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let bytes = self.data.get(self.at..self.at + count).ok_or(Broken)?;
        self.at += count;
        Ok(bytes)
    }
}

fn adler32(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_dictionary_is_spdys() {
        assert_eq!((DICTIONARY.len(), adler32(DICTIONARY)), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn two_flushed_pieces_of_one_stream_are_read() {
        // zlib.compressobj(9, zdict=DICTIONARY) of Python, flushed with Z_SYNC_FLUSH after each.
        let mut inflate = Inflate::default();
        let first = inflate.read(&bytes("78f9e3c6a7c22a2e294a4dcc0515210aa9a0d05528c82f2a51b030b0305028824459668a8201000000ffff")).unwrap();
        assert_eq!(first, b"streamtype error port 8080 requestid 0");
        let second = inflate
            .read(&bytes(
                "4252052c6512b12b5248cc4b514854c8c90766cc220590db15ca334b32508500000000ffff",
            ))
            .unwrap();
        assert_eq!(
            second,
            b"streamtype data port 8080 requestid 0 and a longer text with a longer text"
        );
        let third = inflate.read(&bytes("eccfbb4a02000040d1a44282a4824a24c1a1301c82a2a6107c94833aa4a891544e461822a598543a39b4440822f470095c1c\
             b4411d0ba914824425103412a44507210987b67ea3e19e3f380382a19171c9dc92daec3c89245f5ac372bd27f6d899319ca5\
             bf645bd1caa4edea53e17d1873dc0b773213eed785cbdef6d3e2ad28d8dd6b6c9637de4c557bf3e0273c95582ded0fc695f5\
             d06cf1505af0cfd72ed67f73bee5efeca976f4fdee684ddccedf1c5b57a6fb1fcfa9ebf3806bd762d469542a8dce68d97505\
             ceaf53cf1ffde915ebf14dbe2d5e3bba7b1fd59e66bf977db9dff58bdabcbf203d2cce86eacaf8e07e69353115fe3968daab\
             a6b78df26663af1b14dd2e3e6df72e175edd13991de1bd63ecc1abf8bcb24d56a25bb2aff49961a6f318f3e8e5c3ad9764e4\
             c469562fcd49c6478604d4a953a74e9d3a75ead4a953a74e9d3a75ead4a953a74e9d3a75ead4a953a74e9d3a75ead4a953a7\
             4e9d3a75ead4a953a74e9d3a75ead4a953a74e9d3a75ead4a953a74e9d3a75ead4a953a74e9d3a75ead4a953a7feafea7f00\
             0000ffff")).unwrap();
        assert_eq!(third.len(), 20000);
        assert!(
            third
                .iter()
                .enumerate()
                .all(|(i, b)| usize::from(*b) == i * i % 251)
        );
    }

    #[test]
    fn what_is_no_such_stream_is_refused() {
        for hex in [
            "",
            "7801",
            "789c000000ffff00",
            "78bbe3c6a7c3000000ffff",
            "78bbe3c6a7c207",
        ] {
            assert_eq!(Inflate::default().read(&bytes(hex)), Err(Broken), "{hex}");
        }
    }
}
