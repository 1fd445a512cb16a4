//! XMP packets: Dublin Core, the IPTC extension's `DigitalSourceType`, and Outframe's own description inside them.

use std::fmt::Write as _;

use quick_xml::{
    NsReader,
    escape::{escape, resolve_predefined_entity, unescape},
    events::Event,
    name::ResolveResult,
};

use super::{DigitalSourceType, Metadata, fill, some};
use crate::Limits;

const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const DC: &str = "http://purl.org/dc/elements/1.1/";
const XMP: &str = "http://ns.adobe.com/xap/1.0/";
const IPTC_EXT: &str = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";
/// The namespace of what only Outframe reads; a name, not an address.
const OUTFRAME: &str = "urn:outframe:xmp:1.0:";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Property {
    Title,
    Description,
    Creator,
    Rights,
    Subject,
    CreatorTool,
    DigitalSourceType,
    Own,
}

fn property(namespace: &str, name: &str) -> Option<Property> {
    Some(match (namespace, name) {
        (DC, "title") => Property::Title,
        (DC, "description") => Property::Description,
        (DC, "creator") => Property::Creator,
        (DC, "rights") => Property::Rights,
        (DC, "subject") => Property::Subject,
        (XMP, "CreatorTool") => Property::CreatorTool,
        (IPTC_EXT, "DigitalSourceType") => Property::DigitalSourceType,
        (OUTFRAME, "data") => Property::Own,
        _ => return None,
    })
}

fn namespace<'a>(resolved: &ResolveResult<'a>) -> &'a str {
    match resolved {
        ResolveResult::Bound(namespace) => namespace.0,
        _ => "",
    }
}

/// What a packet holds, before it is merged.
#[derive(Default)]
struct Found {
    texts: Vec<(Property, String)>,
}

impl Found {
    fn first(&self, wanted: Property) -> Option<String> {
        self.all(wanted).next().map(str::to_owned)
    }

    fn all(&self, wanted: Property) -> impl Iterator<Item = &str> {
        self.texts.iter().filter(move |(property, _)| *property == wanted).map(|(_, text)| text.as_str())
    }

    fn push(&mut self, property: Property, text: &str, limits: &Limits) {
        if let Some(text) = some(text)
            && self.texts.len() < limits.max_items
        {
            self.texts.push((property, text));
        }
    }
}

/// Fills what is not yet known, and returns Outframe's own description. What comes before damage is kept.
///
/// Entities that the packet declares are not expanded, and a packet that declares any is left out.
pub(super) fn read(packet: &str, metadata: &mut Metadata, limits: &Limits) -> Option<String> {
    let mut found = Found::default();
    walk(packet, &mut found, limits)?;
    fill(&mut metadata.title, found.first(Property::Title));
    fill(&mut metadata.description, found.first(Property::Description));
    fill(&mut metadata.rights, found.first(Property::Rights));
    fill(&mut metadata.software, found.first(Property::CreatorTool));
    let creators: Vec<&str> = found.all(Property::Creator).collect();
    fill(&mut metadata.creator, some(&creators.join(", ")));
    for word in found.all(Property::Subject) {
        if !metadata.keywords.iter().any(|known| known == word) {
            metadata.keywords.push(word.to_owned());
        }
    }
    if metadata.digital_source_type.is_none() {
        metadata.digital_source_type =
            found.first(Property::DigitalSourceType).map(|uri| DigitalSourceType::from_uri(&uri));
    }
    found.first(Property::Own)
}

fn walk(packet: &str, found: &mut Found, limits: &Limits) -> Option<()> {
    let mut reader = NsReader::from_str(packet);
    let mut depth = 0_usize;
    // The property that is open, the depth of its element, and its text so far. Items of a list (`rdf:li`) end the text.
    let mut open: Option<(Property, usize, String)> = None;
    loop {
        let Ok((resolved, event)) = reader.read_resolved_event() else { return Some(()) };
        match event {
            Event::Start(element) => {
                depth += 1;
                if depth > limits.max_nesting {
                    return Some(());
                }
                let here = property(namespace(&resolved), element.local_name().as_ref());
                if let (None, Some(property)) = (&open, here) {
                    open = Some((property, depth, String::new()));
                }
                attributes(&reader, &element, found, limits);
            }
            Event::Empty(element) => {
                let here = property(namespace(&resolved), element.local_name().as_ref());
                // <Iptc4xmpExt:DigitalSourceType rdf:resource="..."/>
                if let Some(property) = here
                    && let Some(resource) = resource(&reader, &element)
                {
                    found.push(property, &resource, limits);
                }
                attributes(&reader, &element, found, limits);
            }
            Event::Text(text) => {
                if let Some((_, _, so_far)) = &mut open {
                    so_far.push_str(&text.xml10_content());
                }
            }
            Event::CData(text) => {
                if let Some((_, _, so_far)) = &mut open {
                    so_far.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                if let Some((_, _, so_far)) = &mut open {
                    match reference.resolve_char_ref() {
                        Ok(Some(c)) => so_far.push(c),
                        _ => so_far.push_str(resolve_predefined_entity(&reference).unwrap_or_default()),
                    }
                }
            }
            Event::End(element) => {
                let item = namespace(&resolved) == RDF && element.local_name().as_ref() == "li";
                if let Some((property, at, text)) = &mut open {
                    if item || *at == depth {
                        found.push(*property, text, limits);
                        text.clear();
                    }
                    if *at == depth {
                        open = None;
                    }
                }
                depth = depth.saturating_sub(1);
            }
            // A packet has no business with a document type, whose entities could grow without bound.
            Event::DocType(_) => return None,
            Event::Eof => return Some(()),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
        }
    }
}

/// Properties may also be written as attributes of `rdf:Description`.
fn attributes(
    reader: &NsReader<&[u8]>,
    element: &quick_xml::events::BytesStart<'_>,
    found: &mut Found,
    limits: &Limits,
) {
    for attribute in element.attributes().flatten().take(256) {
        let (resolved, name) = reader.resolver().resolve_attribute(attribute.key);
        if let Some(property) = property(namespace(&resolved), name.as_ref())
            && let Ok(value) = unescape(&attribute.value)
        {
            found.push(property, &value, limits);
        }
    }
}

fn resource(reader: &NsReader<&[u8]>, element: &quick_xml::events::BytesStart<'_>) -> Option<String> {
    element.attributes().flatten().take(256).find_map(|attribute| {
        let (resolved, name) = reader.resolver().resolve_attribute(attribute.key);
        (namespace(&resolved) == RDF && name.as_ref() == "resource")
            .then(|| unescape(&attribute.value).ok().map(Into::into))?
    })
}

/// Text without the characters that XML cannot hold at all.
pub(crate) fn xml_text(text: &str) -> String {
    text.chars()
        .filter(|&c| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')))
        .collect()
}

/// An XMP packet with what is known; `None` if that is nothing. `own` is Outframe's description as JSON.
pub(crate) fn write(metadata: &Metadata, own: Option<&str>) -> Option<String> {
    let mut body = String::new();
    // Writing into a string cannot fail.
    let mut alt = |name: &str, text: &Option<String>| {
        if let Some(text) = text {
            let text = xml_text(text);
            let _ = writeln!(
                body,
                "   <dc:{name}><rdf:Alt><rdf:li xml:lang=\"x-default\">{}</rdf:li></rdf:Alt></dc:{name}>",
                escape(&text)
            );
        }
    };
    alt("title", &metadata.title);
    alt("description", &metadata.description);
    alt("rights", &metadata.rights);
    if let Some(creator) = &metadata.creator {
        let _ = writeln!(
            body,
            "   <dc:creator><rdf:Seq><rdf:li>{}</rdf:li></rdf:Seq></dc:creator>",
            escape(xml_text(creator))
        );
    }
    if !metadata.keywords.is_empty() {
        body.push_str("   <dc:subject><rdf:Bag>");
        for word in &metadata.keywords {
            let _ = write!(body, "<rdf:li>{}</rdf:li>", escape(xml_text(word)));
        }
        body.push_str("</rdf:Bag></dc:subject>\n");
    }
    if let Some(kind) = &metadata.digital_source_type {
        let _ = writeln!(
            body,
            "   <Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>",
            escape(xml_text(&kind.uri()))
        );
    }
    if let Some(own) = own {
        let _ = writeln!(body, "   <outframe:data>{}</outframe:data>", escape(xml_text(own)));
    }
    if body.is_empty() {
        return None;
    }
    if let Some(software) = &metadata.software {
        let _ = writeln!(body, "   <xmp:CreatorTool>{}</xmp:CreatorTool>", escape(xml_text(software)));
    }
    Some(format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n <rdf:RDF xmlns:rdf=\"{RDF}\">\n  <rdf:Description rdf:about=\"\"\n    \
         xmlns:dc=\"{DC}\"\n    xmlns:xmp=\"{XMP}\"\n    xmlns:Iptc4xmpExt=\"{IPTC_EXT}\"\n    \
         xmlns:outframe=\"{OUTFRAME}\">\n{body}  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"r\"?>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let metadata = Metadata {
            title: Some("A & B <c>".into()),
            description: Some("two\nlines \"quoted\"".into()),
            creator: Some("Ann".into()),
            rights: Some("© Ann".into()),
            software: Some("Outframe".into()),
            keywords: vec!["sea".into(), "fog & co".into()],
            digital_source_type: Some(DigitalSourceType::CompositeWithTrainedAlgorithmicMedia),
            ..Metadata::default()
        };
        let packet = write(&metadata, Some("{\"a\":\"<&>\"}")).unwrap();
        let mut back = Metadata::default();
        assert_eq!(read(&packet, &mut back, &Limits::default()).as_deref(), Some("{\"a\":\"<&>\"}"));
        assert_eq!(back, metadata);
        assert_eq!(write(&Metadata::default(), None), None);
    }

    #[test]
    fn other_spellings_are_read() {
        let packet = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
            <rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:d="http://purl.org/dc/elements/1.1/"
            d:rights="mine &amp; yours"><e:DigitalSourceType rdf:resource="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
            <d:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bob</rdf:li></rdf:Seq></d:creator></rdf:Description></rdf:RDF></x:xmpmeta>"#;
        let mut metadata = Metadata::default();
        read(packet, &mut metadata, &Limits::default());
        assert_eq!(metadata.digital_source_type, Some(DigitalSourceType::TrainedAlgorithmicMedia));
        assert_eq!(metadata.rights.as_deref(), Some("mine & yours"));
        assert_eq!(metadata.creator.as_deref(), Some("Ann, Bob"));
    }

    #[test]
    fn entities_of_the_packet_are_refused_and_depth_is_bounded() {
        let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><x xmlns:d=\"http://purl.org/dc/elements/1.1/\"><d:title>&b;</d:title></x>";
        let mut metadata = Metadata::default();
        read(laughs, &mut metadata, &Limits::default());
        assert_eq!(metadata, Metadata::default());
        read(&"<a>".repeat(100_000), &mut metadata, &Limits::default());
        assert_eq!(metadata, Metadata::default());
    }
}
