//! A quick look at canonical JSON: whether its text alone shows that every value in it is inside the ledger's subset.

/// Deepest nesting of containers.
const DEPTH: usize = 16;
/// As many digits are below 2^53 whatever they are.
const DIGITS: usize = 15;

/// Whether a parser of JSON that takes this text finds nothing in it but strings of printable ASCII, integers below
/// 2^53, true, false and null, in containers at most 16 deep.
///
/// It may be false for other such texts; whether the text is JSON at all is the parser's to say. Without a reverse
/// solidus no character of a string is written otherwise than by itself, and a quotation mark always ends one.
#[must_use]
pub fn is_plain(text: &[u8]) -> bool {
    let (mut quoted, mut depth, mut digits) = (false, 0, 0);
    for byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => return false,
            b' '..=b'~' if quoted => {}
            b'0'..=b'9' => {
                digits += 1;
                if digits > DIGITS {
                    return false;
                }
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH {
                    return false;
                }
            }
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b':' | b'-' => {}
            // Of the letters of true, false and null; an e behind digits is that of an exponent.
            b'a' | b'f' | b'l' | b'n' | b'r' | b's' | b't' | b'u' => {}
            b'e' if digits == 0 => {}
            _ => return false,
        }
        digits = 0;
    }
    !quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_the_usual_transaction_shows_it() {
        let nested = format!("{}{}", "[".repeat(16), "]".repeat(16));
        let plain: [&[u8]; 6] = [
            br#"{"a":[1,-20,999999999999999],"b":{"c":null,"d":true,"e":false}}"#,
            br#"{"0123456789abcdef0123":"1.5e7 [[[[[[[[[[[[[[[[[[ ~"}"#,
            b"123456789012345",
            b"\"\"",
            b"[]",
            nested.as_bytes(),
        ];
        for text in plain {
            assert!(is_plain(text), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn whatever_may_be_outside_is_left_to_a_closer_look() {
        let nested = format!("{}{}", "[".repeat(17), "]".repeat(17));
        let others: [&[u8]; 14] = [
            b"1.0",
            b"1e5",
            b"1E5",
            b"1234567890123456",
            b"NaN",
            br#""\n""#,
            br#""\"""#,
            b"\"\x7f\"",
            b"\"\x1f\"",
            "\"\u{e9}\"".as_bytes(),
            b"\"open",
            b"[ 1]",
            b"]",
            nested.as_bytes(),
        ];
        for text in others {
            assert!(!is_plain(text), "{}", String::from_utf8_lossy(text));
        }
    }
}
