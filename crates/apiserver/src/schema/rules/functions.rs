//! The functions that rules can call: their names, and the types that they take and give.

/// One form of a function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// What it is called on; none for plain functions.
    pub(super) target: Option<Class>,
    pub(super) arguments: &'static [Class],
    pub(super) result: Class,
}

/// Types, as coarsely as functions tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    Type,
    List,
    Strings,
    Map,
    /// An element of the list that the function is called on.
    Element,
    /// An optional of something.
    Optional,
    /// What is in the optional that the function is called on, or in the argument.
    Inner,
    Opaque(&'static str),
}

use Class::{
    Any, Bool, Bytes, Double, Duration, Element, Inner, Int, List, Map, Opaque, Optional, String,
    Strings, Timestamp, Type, Uint,
};

const QUANTITY: Class = Opaque("kubernetes.Quantity");
const URL: Class = Opaque("kubernetes.URL");
const IP: Class = Opaque("net.IP");
const CIDR: Class = Opaque("net.CIDR");
const SEMVER: Class = Opaque("kubernetes.Semver");
const FORMAT: Class = Opaque("kubernetes.NamedFormat");

const fn plain(name: &'static str, arguments: &'static [Class], result: Class) -> Function {
    Function {
        name,
        target: None,
        arguments,
        result,
    }
}

const fn method(
    target: Class,
    name: &'static str,
    arguments: &'static [Class],
    result: Class,
) -> Function {
    Function {
        name,
        target: Some(target),
        arguments,
        result,
    }
}

/// Every form of every function, other than operators and macros.
pub(super) const FUNCTIONS: &[Function] = &[
    // The language itself.
    plain("size", &[String], Int),
    plain("size", &[Bytes], Int),
    plain("size", &[List], Int),
    plain("size", &[Map], Int),
    method(String, "size", &[], Int),
    method(Bytes, "size", &[], Int),
    method(List, "size", &[], Int),
    method(Map, "size", &[], Int),
    plain("type", &[Any], Type),
    plain("dyn", &[Any], Any),
    plain("bool", &[Bool], Bool),
    plain("bool", &[String], Bool),
    plain("int", &[Int], Int),
    plain("int", &[Uint], Int),
    plain("int", &[Double], Int),
    plain("int", &[String], Int),
    plain("int", &[Timestamp], Int),
    plain("uint", &[Int], Uint),
    plain("uint", &[Uint], Uint),
    plain("uint", &[Double], Uint),
    plain("uint", &[String], Uint),
    plain("double", &[Int], Double),
    plain("double", &[Uint], Double),
    plain("double", &[Double], Double),
    plain("double", &[String], Double),
    plain("string", &[String], String),
    plain("string", &[Bool], String),
    plain("string", &[Int], String),
    plain("string", &[Uint], String),
    plain("string", &[Double], String),
    plain("string", &[Bytes], String),
    plain("string", &[Timestamp], String),
    plain("string", &[Duration], String),
    plain("string", &[IP], String),
    plain("string", &[CIDR], String),
    plain("bytes", &[String], Bytes),
    plain("bytes", &[Bytes], Bytes),
    plain("duration", &[String], Duration),
    plain("duration", &[Duration], Duration),
    plain("timestamp", &[String], Timestamp),
    plain("timestamp", &[Timestamp], Timestamp),
    method(String, "contains", &[String], Bool),
    method(String, "startsWith", &[String], Bool),
    method(String, "endsWith", &[String], Bool),
    method(String, "matches", &[String], Bool),
    plain("matches", &[String, String], Bool),
    method(Timestamp, "getFullYear", &[], Int),
    method(Timestamp, "getMonth", &[], Int),
    method(Timestamp, "getDayOfYear", &[], Int),
    method(Timestamp, "getDayOfMonth", &[], Int),
    method(Timestamp, "getDate", &[], Int),
    method(Timestamp, "getDayOfWeek", &[], Int),
    method(Timestamp, "getHours", &[], Int),
    method(Timestamp, "getMinutes", &[], Int),
    method(Timestamp, "getSeconds", &[], Int),
    method(Timestamp, "getMilliseconds", &[], Int),
    method(Duration, "getHours", &[], Int),
    method(Duration, "getMinutes", &[], Int),
    method(Duration, "getSeconds", &[], Int),
    method(Duration, "getMilliseconds", &[], Int),
    // Optionals.
    plain("optional.of", &[Any], Inner),
    plain("optional.ofNonZeroValue", &[Any], Inner),
    plain("optional.none", &[], Optional),
    method(Optional, "hasValue", &[], Bool),
    method(Optional, "value", &[], Inner),
    method(Optional, "orValue", &[Any], Inner),
    method(Optional, "or", &[Optional], Optional),
    // Strings.
    method(String, "charAt", &[Int], String),
    method(String, "indexOf", &[String], Int),
    method(String, "indexOf", &[String, Int], Int),
    method(String, "lastIndexOf", &[String], Int),
    method(String, "lastIndexOf", &[String, Int], Int),
    method(String, "lowerAscii", &[], String),
    method(String, "upperAscii", &[], String),
    method(String, "replace", &[String, String], String),
    method(String, "replace", &[String, String, Int], String),
    method(String, "split", &[String], Strings),
    method(String, "split", &[String, Int], Strings),
    method(String, "substring", &[Int], String),
    method(String, "substring", &[Int, Int], String),
    method(String, "trim", &[], String),
    method(String, "format", &[List], String),
    method(Strings, "join", &[], String),
    method(Strings, "join", &[String], String),
    plain("strings.quote", &[String], String),
    method(String, "find", &[String], String),
    method(String, "findAll", &[String], Strings),
    method(String, "findAll", &[String, Int], Strings),
    // Lists and sets.
    method(List, "isSorted", &[], Bool),
    method(List, "sum", &[], Element),
    method(List, "min", &[], Element),
    method(List, "max", &[], Element),
    method(List, "indexOf", &[Any], Int),
    method(List, "lastIndexOf", &[Any], Int),
    plain("sets.contains", &[List, List], Bool),
    plain("sets.equivalent", &[List, List], Bool),
    plain("sets.intersects", &[List, List], Bool),
    // URLs.
    plain("url", &[String], URL),
    plain("isURL", &[String], Bool),
    method(URL, "getScheme", &[], String),
    method(URL, "getHost", &[], String),
    method(URL, "getHostname", &[], String),
    method(URL, "getPort", &[], String),
    method(URL, "getEscapedPath", &[], String),
    method(URL, "getQuery", &[], Map),
    // Addresses and networks.
    plain("ip", &[String], IP),
    plain("isIP", &[String], Bool),
    plain("ip.isCanonical", &[String], Bool),
    method(IP, "family", &[], Int),
    method(IP, "isUnspecified", &[], Bool),
    method(IP, "isLoopback", &[], Bool),
    method(IP, "isLinkLocalMulticast", &[], Bool),
    method(IP, "isLinkLocalUnicast", &[], Bool),
    method(IP, "isGlobalUnicast", &[], Bool),
    plain("cidr", &[String], CIDR),
    plain("isCIDR", &[String], Bool),
    method(CIDR, "containsIP", &[IP], Bool),
    method(CIDR, "containsIP", &[String], Bool),
    method(CIDR, "containsCIDR", &[CIDR], Bool),
    method(CIDR, "containsCIDR", &[String], Bool),
    method(CIDR, "ip", &[], IP),
    method(CIDR, "prefixLength", &[], Int),
    method(CIDR, "masked", &[], CIDR),
    // Quantities.
    plain("quantity", &[String], QUANTITY),
    plain("isQuantity", &[String], Bool),
    method(QUANTITY, "isInteger", &[], Bool),
    method(QUANTITY, "asInteger", &[], Int),
    method(QUANTITY, "asApproximateFloat", &[], Double),
    method(QUANTITY, "sign", &[], Int),
    method(QUANTITY, "add", &[QUANTITY], QUANTITY),
    method(QUANTITY, "add", &[Int], QUANTITY),
    method(QUANTITY, "sub", &[QUANTITY], QUANTITY),
    method(QUANTITY, "sub", &[Int], QUANTITY),
    method(QUANTITY, "isGreaterThan", &[QUANTITY], Bool),
    method(QUANTITY, "isLessThan", &[QUANTITY], Bool),
    method(QUANTITY, "compareTo", &[QUANTITY], Int),
    // Semantic versions.
    plain("semver", &[String], SEMVER),
    plain("semver", &[String, Bool], SEMVER),
    plain("isSemver", &[String], Bool),
    plain("isSemver", &[String, Bool], Bool),
    method(SEMVER, "major", &[], Int),
    method(SEMVER, "minor", &[], Int),
    method(SEMVER, "patch", &[], Int),
    method(SEMVER, "isGreaterThan", &[SEMVER], Bool),
    method(SEMVER, "isLessThan", &[SEMVER], Bool),
    method(SEMVER, "compareTo", &[SEMVER], Int),
    // Formats of names.
    plain("format.named", &[String], Optional),
    plain("format.dns1123Label", &[], FORMAT),
    plain("format.dns1123Subdomain", &[], FORMAT),
    plain("format.dns1035Label", &[], FORMAT),
    plain("format.qualifiedName", &[], FORMAT),
    plain("format.dns1123LabelPrefix", &[], FORMAT),
    plain("format.dns1123SubdomainPrefix", &[], FORMAT),
    plain("format.dns1035LabelPrefix", &[], FORMAT),
    plain("format.labelValue", &[], FORMAT),
    plain("format.uri", &[], FORMAT),
    plain("format.uuid", &[], FORMAT),
    plain("format.byte", &[], FORMAT),
    plain("format.date", &[], FORMAT),
    plain("format.datetime", &[], FORMAT),
    method(FORMAT, "validate", &[String], Optional),
];

/// The full name of a call, such as `sets.contains`, if `prefix` names a library.
pub(super) fn qualified(prefix: &str, name: &str) -> Option<&'static str> {
    let mut names = FUNCTIONS.iter().map(|function| function.name);
    names.find(|full| {
        full.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| rest == name)
    })
}
