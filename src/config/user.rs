//! The default user as CONFIG REWRITE of Redis and Valkey describes it in every file: it may do everything, with one password or none.
//!
//! It must not know where a line stands. Source: what Redis 7.0 and Valkey 9.1 write.

use sha2::{Digest, Sha256};

/// What a file says of the default user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultUser {
    /// None is asked for.
    Open,
    /// The SHA-256 of the one that is.
    Hashed([u8; 32]),
}

impl DefaultUser {
    /// Reads the words behind `user`. `None` for another user, one who may not do everything, one with several passwords, and for
    /// words that are unknown.
    pub fn read(words: &[&[u8]]) -> Option<DefaultUser> {
        let (name, rules) = words.split_first()?;
        let (mut on, mut keys, mut channels, mut commands, mut password) = (false, false, false, false, None);
        for rule in rules {
            match *rule {
                b"on" => on = true,
                b"~*" | b"allkeys" => keys = true,
                b"&*" | b"allchannels" => channels = true,
                b"+@all" | b"allcommands" => commands = true,
                b"sanitize-payload" => {}
                rule => {
                    let user = match rule.split_first()? {
                        _ if rule == b"nopass" => DefaultUser::Open,
                        (b'#', digits) => DefaultUser::Hashed(hash_of(digits)?),
                        (b'>', text) => DefaultUser::Hashed(Sha256::digest(text).into()),
                        _ => return None,
                    };
                    if password.replace(user).is_some() {
                        return None;
                    }
                }
            }
        }
        password.filter(|_| *name == b"default" && on && keys && channels && commands)
    }

    /// Whether `requirepass` says the same; where it asks for a password that the line does not ask for, that is asked for.
    pub fn has(&self, requirepass: &[u8]) -> bool {
        match self {
            DefaultUser::Open => true,
            DefaultUser::Hashed(hash) => !requirepass.is_empty() && Sha256::digest(requirepass).as_slice() == hash,
        }
    }
}

/// The bytes that 64 hexadecimal digits spell.
fn hash_of(digits: &[u8]) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let (pairs, odd) = digits.as_chunks::<2>();
    if pairs.len() != hash.len() || !odd.is_empty() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<DefaultUser> {
        DefaultUser::read(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn what_a_rewrite_leaves_is_read() {
        let foo = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let open = read("default on nopass ~* &* +@all");
        assert_eq!(open, Some(DefaultUser::Open));
        assert_eq!(open, read("default on nopass sanitize-payload allkeys allchannels allcommands"));
        let hashed = read(&format!("default on #{foo} ~* &* +@all")).unwrap();
        assert!(hashed.has(b"foo") && !hashed.has(b"bar") && !hashed.has(b""));
        assert_eq!(read("default on >foo ~* &* +@all"), Some(hashed));
    }

    #[test]
    fn whoever_may_do_less_is_refused() {
        for line in [
            "default",
            "alice on nopass ~* &* +@all",
            "default off nopass ~* &* +@all",
            "default on nopass ~x* &* +@all",
            "default on nopass ~* &* +@all -flushall",
            "default on ~* &* +@all",
            "default on >a >b ~* &* +@all",
            "default on #00 ~* &* +@all",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
