//! Taint flags of the kernel and of modules: include/linux/panic.h, kernel/panic.c `taint_flags`.

/// A set of taint flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taints(pub u64);

/// One flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taint {
    /// Bit number.
    pub bit: u32,
    /// The kernel's letter, as in /proc/modules.
    pub letter: char,
    /// Its name.
    pub name: &'static str,
}

/// In the order of the bits, so that the index is the bit.
const TABLE: [Taint; 20] = {
    const fn t(bit: u32, letter: char, name: &'static str) -> Taint {
        Taint { bit, letter, name }
    }
    [
        t(0, 'P', "proprietary_module"),
        t(1, 'F', "forced_module"),
        t(2, 'S', "cpu_out_of_spec"),
        t(3, 'R', "forced_unload_module"),
        t(4, 'M', "machine_check"),
        t(5, 'B', "bad_page"),
        t(6, 'U', "user"),
        t(7, 'D', "die"),
        t(8, 'A', "overridden_acpi_table"),
        t(9, 'W', "warn"),
        t(10, 'C', "staged_module"),
        t(11, 'I', "firmware_workaround"),
        t(12, 'O', "out_of_tree_module"),
        t(13, 'E', "unsigned_module"),
        t(14, 'L', "soft_lockup"),
        t(15, 'K', "kernel_live_patch_module"),
        t(16, 'X', "auxiliary"),
        t(17, 'T', "randstruct"),
        t(18, 'N', "test_module"),
        t(19, 'J', "fwctl"),
    ]
};

impl Taints {
    /// Forced rmmod: `TAINT_FORCED_RMMOD`.
    pub const FORCED_UNLOAD: Self = Self(1 << 3);

    /// Nothing is tainted.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// TAINT_UNSIGNED_MODULE: a valid signature was lacking.
    #[must_use]
    pub const fn is_unsigned(self) -> bool {
        self.0 >> 13 & 1 == 1
    }

    /// From letters as in /sys/module/NAME/taint; what is none is left out.
    #[must_use]
    pub fn from_letters(letters: &str) -> Self {
        let bit = |letter| TABLE.iter().find(|t| t.letter == letter).map_or(0, |t| 1 << t.bit);
        Self(letters.chars().fold(0, |mask, letter| mask | bit(letter)))
    }

    /// The known flags that are set, lowest bit first.
    pub fn known(self) -> impl Iterator<Item = Taint> {
        TABLE.into_iter().filter(move |t| self.0 >> t.bit & 1 == 1)
    }

    /// Bits that no kernel had when this was written (distributions use some above 26).
    pub fn unknown(self) -> impl Iterator<Item = u32> {
        (TABLE.len() as u32..64).filter(move |bit| self.0 >> bit & 1 == 1)
    }

    /// "OE"; a flag without a letter is "?".
    #[must_use]
    pub fn letters(self) -> String {
        self.known().map(|t| t.letter).chain(self.unknown().map(|_| '?')).collect()
    }

    /// "out_of_tree_module", ...; an unknown flag is "bit_27".
    #[must_use]
    pub fn names(self) -> Vec<String> {
        self.known().map(|t| t.name.to_owned()).chain(self.unknown().map(|b| format!("bit_{b}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_bit() {
        assert!(TABLE.iter().enumerate().all(|(i, t)| i == t.bit as usize));
    }

    #[test]
    fn out_of_tree_and_unsigned() {
        let taints = Taints(12288);
        assert_eq!(taints.letters(), "OE");
        assert_eq!(Taints::from_letters("OE\n"), taints);
        assert!(taints.is_unsigned() && !Taints(4096).is_unsigned());
        assert_eq!(taints.names(), ["out_of_tree_module", "unsigned_module"]);
    }

    #[test]
    fn a_bit_without_a_name_is_not_hidden() {
        let taints = Taints(1 << 27 | 1);
        assert_eq!(
            (taints.letters().as_str(), taints.names()),
            ("P?", vec!["proprietary_module".to_owned(), "bit_27".to_owned()])
        );
    }
}
