//! Folding: texts that a search takes for the same become equal.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

const DOT_ABOVE: char = '\u{307}';

/// Folds a text as Unicode's identifier caseless matching does (The Unicode Standard, 3.13,
/// D147): case, compatibility forms (`ﬁ`, `Ａ`), order and composition of accents no longer
/// differ, and invisible characters are gone.
///
/// One thing is added: a dot above an `i` is dropped. Case folding makes `i` and a dot of the
/// Turkish `İ`, and `istanbul` would not be found in `İstanbul`.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let case = CaseMapper::new();
    let canonical = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    let folded = case.fold_string(&canonical);
    // Compatibility forms may consist of capital letters: `℡`.
    let compatible = DecomposingNormalizerBorrowed::new_nfkd().normalize(&folded);
    let folded = case.fold_string(&compatible);
    let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let mut kept = String::with_capacity(folded.len());
    for sign in folded.chars() {
        let is_dot_of_i = sign == DOT_ABOVE && kept.ends_with('i');
        if !is_dot_of_i && !invisible.contains(sign) {
            kept.push(sign);
        }
    }
    ComposingNormalizerBorrowed::new_nfkc()
        .normalize(&kept)
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_search_takes_for_the_same() {
        for (texts, folded) in [
            (&["Straße", "STRASSE", "STRAẞE"][..], "strasse"),
            (&["İstanbul", "istanbul", "I\u{307}STANBUL"], "istanbul"),
            (&["ΟΔΟΣ", "οδος", "οδοσ"], "οδοσ"),
            (&["ᾳ", "ΑΙ", "α\u{345}"], "αι"),
            (
                &["Việt", "VIỆT", "vie\u{323}\u{302}t", "vie\u{302}\u{323}t"],
                "việt",
            ),
            (&["ﬁle", "ＦＩＬＥ", "file"], "file"),
            (&["℡", "TEL"], "tel"),
            (&["❤\u{fe0f}", "❤"], "❤"),
            (&["👩\u{200d}👧", "👩👧"], "👩👧"),
            (&["co\u{ad}operate", "cooperate"], "cooperate"),
            (&["a\u{34f}\u{301}", "Á"], "á"),
            (&["i\u{307}\u{301}", "Í"], "í"),
            (&["ｶﾞ", "ガ"], "ガ"),
            (&["Ⅷ", "viii"], "viii"),
            (&["Ꭰ", "ꭰ"], "Ꭰ"),
            (&["\u{ad}", "\u{200b}", ""], ""),
        ] {
            for text in texts {
                assert_eq!(fold(text), folded, "{text}");
            }
        }
        // Another letter is another letter.
        assert_ne!(fold("ı"), fold("i"));
        assert_ne!(fold("e"), fold("é"));
    }

    #[test]
    fn folding_again_changes_nothing() {
        for sign in '\0'..=char::MAX {
            let once = fold(&String::from(sign));
            assert_eq!(fold(&once), once, "U+{:04X}", u32::from(sign));
        }
    }

    #[test]
    fn equivalent_texts_fold_alike() {
        for sign in '\0'..=char::MAX {
            // The capital of `ı` is `I`, as for `i`.
            if sign == 'ı' {
                continue;
            }
            let text = String::from(sign);
            let forms = [
                DecomposingNormalizerBorrowed::new_nfd().normalize(&text),
                DecomposingNormalizerBorrowed::new_nfkd().normalize(&text),
                ComposingNormalizerBorrowed::new_nfc().normalize(&text),
                ComposingNormalizerBorrowed::new_nfkc().normalize(&text),
                text.to_uppercase().into(),
                text.to_lowercase().into(),
            ];
            for form in forms {
                if form != text {
                    assert_eq!(fold(&form), fold(&text), "U+{:04X}", u32::from(sign));
                }
            }
        }
    }
}
