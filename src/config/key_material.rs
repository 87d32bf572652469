//! Keys of key pairs, which are no shared secrets.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Begins of PEM (RFC 7468), and of public keys of OpenSSH (RFC 4253, section 6.6).
const BEGINS: [&str; 4] = ["-----BEGIN ", "ssh-", "ecdsa-sha2-", "sk-ssh-"];

/// The least bytes of a public key in DER: those of Ed25519 (RFC 8410, section 4).
const SHORTEST_DER: usize = 44;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether the value is a public or private key, or a certificate: PEM, DER in base64, OpenSSH or
/// JWK (RFC 7517). As the key of an HMAC, a public key lets everybody sign.
pub(super) fn is_key_of_pair(value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']).trim();
    if is_text_of_key(value) || is_jwk(value) {
        return true;
    }
    let one_line: String = value.replace("\\n", "").split_whitespace().collect();
    BASE64.decode(one_line).is_ok_and(|bytes| {
        is_der(&bytes) || std::str::from_utf8(&bytes).is_ok_and(|text| is_text_of_key(text.trim()))
    })
}

fn is_text_of_key(text: &str) -> bool {
    BEGINS.iter().any(|begin| text.starts_with(begin))
}

/// A key, or a set of keys. A symmetric one (`oct`) is meant to be shared, but not in this form.
fn is_jwk(text: &str) -> bool {
    serde_json::from_str(text).is_ok_and(|json: serde_json::Value| {
        json.get("kty").is_some() || json.get("keys").is_some()
    })
}

/// A SEQUENCE of exactly this length that begins with a SEQUENCE or an INTEGER, as all keys and
/// certificates do (X.690, sections 8.1 and 8.9).
fn is_der(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else {
        return false;
    };
    let (length, content) = match *length {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let Some((length, content)) = rest.split_at_checked(usize::from(long & 0x7f)) else {
                return false;
            };
            let length = length.iter().try_fold(0_usize, |sum, byte| {
                Some(sum.checked_mul(256)? + usize::from(*byte))
            });
            (length.unwrap_or_default(), content)
        }
    };
    bytes.len() >= SHORTEST_DER
        && content.len() == length
        && matches!(content.first(), Some(0x30 | 0x02))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    #[test]
    fn keys_in_all_spellings() {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{ED25519}\n-----END PUBLIC KEY-----\n");
        let long = [&[0x30, 0x82, 0x01, 0x00, 0x02, 0x82][..], &[7; 254]].concat();
        for value in [
            pem.as_str(),
            &pem.replace('\n', "\\n"),
            &format!("\"{pem}\""),
            &BASE64.encode(&pem),
            ED25519,
            ED25519.trim_end_matches('='),
            &BASE64.encode(long),
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9 me@host",
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
            r#"{"keys":[]}"#,
        ] {
            assert!(is_key_of_pair(value), "{value}");
        }
        for value in [
            "5f0c1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqow",
            "correct horse battery staple, and 9 more words",
            "MA==",
            "",
        ] {
            assert!(!is_key_of_pair(value), "{value}");
        }
    }
}
