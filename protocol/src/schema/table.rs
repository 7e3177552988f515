//! What a table can say of a structure. Tables are data: the dissector, the composer and the Wireshark dissector read
//! the same ones.

/// A structure of one of the documents: a message, or a part of one.
#[derive(Debug)]
pub struct Structure {
    /// The document's name for it.
    pub name: &'static str,
    /// The document, as in `MS-PCCRR`.
    pub protocol: &'static str,
    /// The section of the document.
    pub section: &'static str,
    /// What it is, in a few words.
    pub note: &'static str,
    /// The fields in the order of the bytes.
    pub fields: &'static [Field],
    /// What fields of this structure, or of its headers, have to be in it.
    pub constants: &'static [Constant],
    /// The rules that hold between fields.
    pub checks: &'static [Check],
    /// The largest size in bytes.
    pub max_size: usize,
    /// How many zero bytes behind the last field receivers tolerate.
    pub tail_padding: usize,
    /// Whether bytes behind the last field are allowed and have no meaning.
    pub open_end: bool,
}

/// A field of a [`Structure`].
#[derive(Debug)]
pub struct Field {
    /// The document's name for it.
    pub name: &'static str,
    /// How its bytes are read.
    pub kind: Kind,
    /// What it means, in a few words.
    pub note: &'static str,
    /// The rules that hold for it alone.
    pub rules: &'static [Rule],
    /// What its absence means.
    pub presence: Presence,
    /// Whether it is a segment secret (Kp), which is shown on demand only.
    pub secret: bool,
}

/// What it means that a field is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has to be there.
    Required,
    /// One who composes may leave it out: it is zero or empty then.
    Defaulted,
    /// The message may end before it; one who composes may leave it out, too.
    MayEnd,
}

/// How the bytes of a field are read.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// An unsigned integer of 1 to 8 bytes.
    Integer {
        /// Bytes.
        width: usize,
        /// Which byte comes first.
        order: Order,
        /// How it is shown.
        shown: Shown,
    },
    /// Bytes.
    Bytes(Extent),
    /// Zero bytes up to the next multiple of 4 from the start of the message.
    ZeroPad,
    /// Another structure.
    Structure(&'static Structure, Region),
    /// The same field again and again.
    Array(&'static Field, Count),
}

/// Byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The most significant byte first.
    Big,
    /// The least significant byte first.
    Little,
}

/// How an integer is shown.
#[derive(Debug, Clone, Copy)]
pub enum Shown {
    /// In decimal digits.
    Number,
    /// As `major.minor`: the upper half is the minor number.
    Version,
    /// In decimal digits, with its name.
    Named(&'static Enumeration),
}

/// How many bytes a field has. Fields are named that stand before it.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// So many.
    Fixed(usize),
    /// As many as this field says.
    SizedBy(&'static str),
    /// The size of a hash of the algorithm that this field names.
    HashOf(&'static str),
    /// All that are left.
    Rest,
}

/// Which bytes a nested structure has.
#[derive(Debug, Clone, Copy)]
pub enum Region {
    /// As many as its fields take.
    Inline,
    /// As many as this field says; none is no structure.
    SizedBy(&'static str),
    /// All that are left.
    Rest,
}

/// How many items an array has.
#[derive(Debug, Clone, Copy)]
pub enum Count {
    /// As many as this field says.
    CountedBy(&'static str),
    /// As many as fill the bytes that this field counts.
    Within(&'static str),
    /// As many as there are bytes for.
    Rest,
}

/// The values that a field may have, and their names.
#[derive(Debug)]
pub struct Enumeration {
    /// The name of the enumeration.
    pub name: &'static str,
    /// Values and names.
    pub values: &'static [(u64, &'static str)],
}

impl Enumeration {
    /// The name of a value.
    #[must_use]
    pub fn name_of(&self, value: u64) -> Option<&'static str> {
        self.values.iter().find(|(known, _)| *known == value).map(|(_, name)| *name)
    }

    /// The value of a name, in any letter case.
    #[must_use]
    pub fn value_of(&self, name: &str) -> Option<u64> {
        self.values.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(value, _)| *value)
    }
}

/// A rule that holds for one field.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// An integer that has to be this one.
    Is(u64),
    /// An integer that should be this one; receivers take others.
    ShouldBe(u64),
    /// An integer that has to be one of its enumeration.
    Known,
    /// An integer of this size, both ends included.
    Between(u64, u64),
    /// An integer that is a multiple of this one, and not zero.
    Multiple(u64),
    /// The number of bytes that follow the field.
    SizeOfRest,
    /// The number of bytes of the message, from the structure that has the field to the end.
    SizeOfMessage,
    /// An array of so many items, both ends included.
    Items(usize, usize),
    /// Bytes of one of these sizes.
    Sizes(&'static [usize]),
}

/// What a field of a header is in a message.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    /// The field.
    pub field: &'static str,
    /// What it is.
    pub value: u64,
    /// Whether receivers take other values.
    pub tolerated: bool,
}

/// A rule that holds between several fields. Each has its code in the dissector; the tables say where it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// No BLOCK_RANGE of a response is empty or leaves the 512 blocks of a segment.
    BlockRanges,
    /// The same in a request, which has an answer all the same.
    RequestedRanges,
    /// No SEGMENT_RANGE is empty or ends beyond 32 bits.
    SegmentRanges,
    /// A request for blocks asks for one range of one block; servers take others.
    OneBlock,
    /// An encrypted block has an initialisation vector of 16 bytes.
    InitialisationVector,
    /// The segments of version 1 content information follow each other and are full but for the last.
    Segments1,
    /// The range of version 1 content information begins in its first and ends in its last segment.
    Range1,
    /// The block lists of version 1 content information belong to the range, and complete ones to their HoD.
    BlockLists1,
    /// The one segment of a SEGMENT_INFO_MESSAGE and its block list.
    OfferedSegment,
    /// The segments of version 2 content information end before 2^63.
    Segments2,
    /// The range of version 2 content information begins in its first and ends in its segments.
    Range2,
    /// The sizes of an offered segment and of its blocks belong together.
    Descriptor,
}

impl Structure {
    /// A structure of these fields.
    #[must_use]
    pub const fn new(
        name: &'static str,
        protocol: &'static str,
        section: &'static str,
        note: &'static str,
        fields: &'static [Field],
    ) -> Self {
        let (constants, checks): (&[Constant], &[Check]) = (&[], &[]);
        let max_size = crate::content::MAX_CONTENT_INFORMATION_SIZE;
        Self { name, protocol, section, note, fields, constants, checks, max_size, tail_padding: 0, open_end: false }
    }

    /// The same with values for fields.
    #[must_use]
    pub const fn constants(mut self, constants: &'static [Constant]) -> Self {
        self.constants = constants;
        self
    }

    /// The same with rules between its fields.
    #[must_use]
    pub const fn checks(mut self, checks: &'static [Check]) -> Self {
        self.checks = checks;
        self
    }

    /// The same with a largest size.
    #[must_use]
    pub const fn at_most(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// The same with so many zero bytes tolerated at its end.
    #[must_use]
    pub const fn padded(mut self, bytes: usize) -> Self {
        self.tail_padding = bytes;
        self
    }

    /// The same with anything allowed behind its last field.
    #[must_use]
    pub const fn open(mut self) -> Self {
        self.open_end = true;
        self
    }

    /// Whether a segment secret is among its fields, at any depth.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.fields.iter().any(Field::has_secret)
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Field {
    /// A field that has to be there.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, note: &'static str) -> Self {
        Self { name, kind, note, rules: &[], presence: Presence::Required, secret: false }
    }

    fn has_secret(&self) -> bool {
        self.secret
            || match self.kind {
                Kind::Structure(structure, _) => structure.has_secret(),
                Kind::Array(item, _) => item.has_secret(),
                _ => false,
            }
    }

    /// A big-endian integer.
    #[must_use]
    pub const fn big(name: &'static str, width: usize, note: &'static str) -> Self {
        Self::new(name, Kind::Integer { width, order: Order::Big, shown: Shown::Number }, note)
    }

    /// A little-endian integer.
    #[must_use]
    pub const fn little(name: &'static str, width: usize, note: &'static str) -> Self {
        Self::new(name, Kind::Integer { width, order: Order::Little, shown: Shown::Number }, note)
    }

    /// Bytes.
    #[must_use]
    pub const fn bytes(name: &'static str, extent: Extent, note: &'static str) -> Self {
        Self::new(name, Kind::Bytes(extent), note)
    }

    /// Zero bytes up to a multiple of 4.
    #[must_use]
    pub const fn zero_pad(name: &'static str) -> Self {
        Self::new(name, Kind::ZeroPad, "zeros up to the next multiple of 4").defaulted()
    }

    /// A structure in its place.
    #[must_use]
    pub const fn structure(name: &'static str, structure: &'static Structure) -> Self {
        Self::new(name, Kind::Structure(structure, Region::Inline), structure.note).defaulted()
    }

    /// An array.
    #[must_use]
    pub const fn array(name: &'static str, item: &'static Field, count: Count, note: &'static str) -> Self {
        Self::new(name, Kind::Array(item, count), note)
    }

    /// The same with another way to show the integer.
    #[must_use]
    pub const fn shown(mut self, as_what: Shown) -> Self {
        if let Kind::Integer { width, order, .. } = self.kind {
            self.kind = Kind::Integer { width, order, shown: as_what };
        }
        self
    }

    /// The same with rules.
    #[must_use]
    pub const fn rules(mut self, rules: &'static [Rule]) -> Self {
        self.rules = rules;
        self
    }

    /// The same, zero or empty where one who composes leaves it out.
    #[must_use]
    pub const fn defaulted(mut self) -> Self {
        self.presence = Presence::Defaulted;
        self
    }

    /// The same where the message may end before it.
    #[must_use]
    pub const fn may_end(mut self) -> Self {
        self.presence = Presence::MayEnd;
        self
    }

    /// The same as a secret.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}
