//! A small strict layer over the pull parser: elements with resolved namespaces, trimmed text, and limits.

use std::borrow::Cow;

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::PrefixDeclaration;
use quick_xml::{Reader, XmlVersion};
use thiserror::Error;

use super::names::Namespace;

/// How deep elements may nest; a ProbeMatches needs six levels.
const MAX_DEPTH: usize = 16;
/// How many elements a document may have; a ProbeMatches has 18.
const MAX_ELEMENTS: usize = 256;
/// How many attributes one element may have.
const MAX_ATTRIBUTES: usize = 32;

/// Why a datagram is not XML that these protocols accept (SOAP 1.2 part 1, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum XmlError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The XML is not well-formed, or ends too soon.
    #[error("not well-formed XML near byte {at}")]
    NotWellFormed {
        /// Where the parser stopped, in bytes from the start.
        at: u64,
    },
    /// A document type declaration, which SOAP forbids.
    #[error("a document type declaration")]
    Doctype,
    /// A processing instruction, which SOAP forbids.
    #[error("a processing instruction")]
    ProcessingInstruction,
    /// A reference to an entity other than the five that XML predefines.
    #[error("an entity that XML does not predefine")]
    Entity,
    /// A prefix without a namespace, or a declaration that namespaces in XML forbid.
    #[error("a namespace prefix without a valid declaration")]
    Prefix,
    /// Elements nest too deeply.
    #[error("more than {MAX_DEPTH} levels of elements")]
    TooDeep,
    /// The document has too many elements.
    #[error("more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// An element has too many attributes.
    #[error("more than {MAX_ATTRIBUTES} attributes on one element")]
    TooManyAttributes,
    /// An element stands where only text may stand.
    #[error("an element inside a text value")]
    ElementInText,
}

/// The start of an element whose namespace is known.
#[derive(Debug)]
pub(super) struct Start<'a> {
    tag: BytesStart<'a>,
    pub(super) namespace: Namespace,
}

impl Start<'_> {
    pub(super) fn local_name(&self) -> &str {
        self.tag.local_name().into_inner()
    }

    pub(super) fn is(&self, namespace: Namespace, local_name: &str) -> bool {
        self.namespace == namespace && self.local_name() == local_name
    }

    /// The value of an attribute without a prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        let attribute = self.tag.attributes().flatten().find(|attribute| attribute.key.into_inner() == name)?;
        attribute.normalized_value(XmlVersion::Explicit1_0).ok()
    }
}

/// A document being read from start to end.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    /// How many elements are open.
    depth: usize,
    elements: usize,
    bindings: Vec<Binding>,
    /// The prefixes of `bindings`, one after the other.
    prefixes: String,
}

struct Binding {
    /// The depth of the element that declares it.
    depth: usize,
    /// Where its prefix begins in `Xml::prefixes`; it reaches to the next one. Empty: the default namespace.
    prefix: usize,
    namespace: Namespace,
}

impl<'a> Xml<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Result<Self, XmlError> {
        let text = std::str::from_utf8(payload).map_err(|_| XmlError::NotUtf8)?;
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.trim_markup_names_in_closing_tags = true;
        Ok(Self { reader, depth: 0, elements: 0, bindings: Vec::new(), prefixes: String::new() })
    }

    /// The document's root element.
    pub(super) fn root(&mut self) -> Result<Start<'a>, XmlError> {
        let mut first = true;
        loop {
            match self.event()? {
                Event::Decl(_) if first => {}
                Event::Text(text) if is_blank(&text) => {}
                Event::Comment(_) => {}
                Event::Start(tag) => return self.open(tag),
                _ => return Err(self.not_well_formed()),
            }
            first = false;
        }
    }

    /// The next child of the element that is open, or `None` when that element has ended. Text between is ignored.
    pub(super) fn child(&mut self) -> Result<Option<Start<'a>>, XmlError> {
        loop {
            match self.event()? {
                Event::Start(tag) => return self.open(tag).map(Some),
                Event::End(_) => {
                    self.close();
                    return Ok(None);
                }
                Event::GeneralRef(reference) => resolve(&reference, &mut String::new())?,
                Event::Text(_) | Event::CData(_) | Event::Comment(_) => {}
                _ => return Err(self.not_well_formed()),
            }
        }
    }

    /// The text of the element that is open, without the white space around it; closes the element.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, XmlError> {
        let text = self.content()?;
        self.close();
        Ok(text)
    }

    /// The same for text with QNames in it: `resolve` runs while the element's own declarations still hold.
    pub(super) fn text_with<T>(&mut self, resolve: impl FnOnce(&Self, &str) -> T) -> Result<T, XmlError> {
        let text = self.content()?;
        let resolved = resolve(self, &text);
        self.close();
        Ok(resolved)
    }

    /// The text up to and including the end tag.
    fn content(&mut self) -> Result<Cow<'a, str>, XmlError> {
        let mut text = Cow::Borrowed("");
        loop {
            match self.event()? {
                Event::Text(part) => append(&mut text, part.into_inner()),
                Event::CData(part) => append(&mut text, part.into_inner()),
                Event::GeneralRef(reference) => resolve(&reference, text.to_mut())?,
                Event::Comment(_) => {}
                Event::End(_) => return Ok(trimmed(text)),
                Event::Start(_) => return Err(XmlError::ElementInText),
                _ => return Err(self.not_well_formed()),
            }
        }
    }

    /// Reads to the end of the element that is open.
    pub(super) fn skip(&mut self) -> Result<(), XmlError> {
        let outer = self.depth;
        while self.depth >= outer {
            // `child` opens or closes exactly one element.
            self.child()?;
        }
        Ok(())
    }

    /// Nothing but white space and comments may follow the root element.
    pub(super) fn finish(mut self) -> Result<(), XmlError> {
        loop {
            match self.reader.read_event() {
                Ok(Event::Eof) => return Ok(()),
                Ok(Event::Text(text)) if is_blank(&text) => {}
                Ok(Event::Comment(_)) => {}
                Ok(Event::DocType(_)) => return Err(XmlError::Doctype),
                _ => return Err(self.not_well_formed()),
            }
        }
    }

    /// Resolves a QName that stands in text, with the prefixes declared here. An undeclared prefix names nothing.
    pub(super) fn resolve_qname<'t>(&self, token: &'t str) -> (Namespace, &'t str) {
        let (prefix, local_name) = token.split_once(':').unwrap_or(("", token));
        (self.lookup(prefix).unwrap_or(Namespace::Other), local_name)
    }

    fn event(&mut self) -> Result<Event<'a>, XmlError> {
        match self.reader.read_event() {
            Ok(Event::DocType(_)) => Err(XmlError::Doctype),
            Ok(Event::PI(_)) => Err(XmlError::ProcessingInstruction),
            Ok(Event::Eof) | Err(_) => Err(self.not_well_formed()),
            Ok(event) => Ok(event),
        }
    }

    fn open(&mut self, tag: BytesStart<'a>) -> Result<Start<'a>, XmlError> {
        self.depth += 1;
        self.elements += 1;
        if self.depth > MAX_DEPTH {
            return Err(XmlError::TooDeep);
        }
        if self.elements > MAX_ELEMENTS {
            return Err(XmlError::TooManyElements);
        }
        self.declare(&tag)?;
        let name = tag.name();
        let (prefix, local_name) = name.into_inner().split_once(':').unwrap_or(("", name.into_inner()));
        if local_name.is_empty() || local_name.contains(':') {
            return Err(self.not_well_formed());
        }
        let namespace = self.lookup(prefix).ok_or(XmlError::Prefix)?;
        Ok(Start { tag, namespace })
    }

    /// Takes note of the namespaces an element declares and looks at every attribute once.
    fn declare(&mut self, tag: &BytesStart<'_>) -> Result<(), XmlError> {
        if tag.attributes_raw().is_empty() {
            return Ok(());
        }
        let mut prefixed = false;
        for (count, attribute) in tag.attributes().enumerate() {
            if count >= MAX_ATTRIBUTES {
                return Err(XmlError::TooManyAttributes);
            }
            let attribute = attribute.map_err(|_| self.not_well_formed())?;
            if attribute.value.contains('<') {
                return Err(self.not_well_formed());
            }
            let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|_| XmlError::Entity)?;
            let prefix = match attribute.key.as_namespace_binding() {
                None => {
                    prefixed |= attribute.key.prefix().is_some();
                    continue;
                }
                Some(PrefixDeclaration::Default) => "",
                // Namespaces in XML 1.0, section 3: these two are taken, and a prefix cannot be undeclared.
                Some(PrefixDeclaration::Named("" | "xml" | "xmlns")) => return Err(XmlError::Prefix),
                Some(PrefixDeclaration::Named(_)) if value.is_empty() => return Err(XmlError::Prefix),
                Some(PrefixDeclaration::Named(prefix)) => prefix,
            };
            let namespace = Namespace::of(&value);
            self.bindings.push(Binding { depth: self.depth, prefix: self.prefixes.len(), namespace });
            self.prefixes.push_str(prefix);
        }
        let bound = |attribute: Attribute<'_>| {
            attribute.key.as_namespace_binding().is_some()
                || attribute.key.prefix().is_none_or(|prefix| self.lookup(prefix.into_inner()).is_some())
        };
        if prefixed && !tag.attributes().flatten().all(bound) {
            return Err(XmlError::Prefix);
        }
        Ok(())
    }

    fn close(&mut self) {
        while let Some(binding) = self.bindings.pop_if(|binding| binding.depth == self.depth) {
            self.prefixes.truncate(binding.prefix);
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn lookup(&self, prefix: &str) -> Option<Namespace> {
        let mut end = self.prefixes.len();
        for binding in self.bindings.iter().rev() {
            if self.prefixes.get(binding.prefix..end) == Some(prefix) {
                return Some(binding.namespace);
            }
            end = binding.prefix;
        }
        match prefix {
            "" => Some(Namespace::None),
            "xml" => Some(Namespace::Other),
            _ => None,
        }
    }

    fn not_well_formed(&self) -> XmlError {
        XmlError::NotWellFormed { at: self.reader.buffer_position() }
    }
}

/// Appends what a reference stands for: a character, or one of the five predefined entities.
fn resolve(reference: &BytesRef<'_>, text: &mut String) -> Result<(), XmlError> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => text.push(character),
        Ok(None) => text.push_str(resolve_xml_entity(reference).ok_or(XmlError::Entity)?),
        Err(_) => return Err(XmlError::Entity),
    }
    Ok(())
}

fn append<'a>(text: &mut Cow<'a, str>, part: Cow<'a, str>) {
    if text.is_empty() { *text = part } else { text.to_mut().push_str(&part) }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
    }
}

/// The white space of XML (1.0, 2.3), which is less than that of Unicode and of ASCII.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Without white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(WHITE_SPACE)
}

/// The words of a list.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(WHITE_SPACE).filter(|word| !word.is_empty())
}

fn is_blank(text: &str) -> bool {
    trim(text).is_empty()
}
