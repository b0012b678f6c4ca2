use proptest::prelude::*;
use serde_json::{Value, json};

use super::{check, violations};
use crate::schema::Schema;

fn schema(document: &Value) -> Schema {
    Schema::from_openapi(document).unwrap()
}

fn ruled(type_: &Value, rules: &Value) -> Schema {
    let mut spec = type_.clone();
    spec["x-kubernetes-validations"] = rules.clone();
    schema(&json!({"type": "object", "properties": {"spec": spec}}))
}

fn told(causes: Vec<crate::status::Cause>) -> Vec<String> {
    let lines = causes.into_iter();
    lines
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

fn judged(type_: &Value, rule: &str, spec: &Value) -> Vec<String> {
    let schema = ruled(type_, &json!([{"rule": rule}]));
    assert_eq!(told(check(&schema)), Vec::<String>::new(), "{rule}");
    told(violations(&schema, &json!({"spec": spec}), None))
}

fn everything() -> Value {
    json!({"type": "object", "properties": {
        "int": {"type": "integer"}, "num": {"type": "number"}, "bool": {"type": "boolean"},
        "name": {"type": "string", "maxLength": 100}, "any": {"x-kubernetes-int-or-string": true},
        "at": {"type": "string", "format": "date-time"}, "day": {"type": "string", "format": "date"},
        "wait": {"type": "string", "format": "duration"}, "raw": {"type": "string", "format": "byte"},
        "list": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 20}},
        "ints": {"type": "array", "maxItems": 10, "items": {"type": "integer"}},
        "map": {"type": "object", "maxProperties": 10, "additionalProperties": {"type": "integer"}},
        "maybe": {"type": "string", "nullable": true},
        "a-b.c": {"type": "string"}, "namespace": {"type": "string"},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true},
        "inner": {"type": "object", "properties": {"x": {"type": "integer"}}}}})
}

fn full() -> Value {
    json!({"int": 3, "num": 2, "bool": true, "name": "häuser", "any": "50%",
        "at": "2024-01-02T03:04:05Z", "day": "2024-05-06", "wait": "1h30m", "raw": "aGVsbG8=",
        "list": ["a", "b", "c"], "ints": [1, 2, 3], "map": {"x-y": 1, "z": 2}, "maybe": null,
        "a-b.c": "dashed", "namespace": "ns", "inner": {"x": 1},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}})
}

#[test]
fn expressions_see_values_by_their_types() {
    let rules = [
        "self.int + 1 == 4 && self.num == 2.0 && self.bool",
        "self.name.size() == 6 && self.name.startsWith('h') && self.name.matches('^h.*r$')",
        "type(self.any) == string && self.any == '50%'",
        "self.at > timestamp('2024-01-01T00:00:00Z') && self.at.getFullYear() == 2024",
        "self.day < self.at + duration('10000h') && self.wait == duration('90m')",
        "self.raw == b'hello' && size(self.raw) == 5",
        "'b' in self.list && self.list.exists(x, x == 'c') && self.list.all(x, size(x) == 1)",
        "self.list.exists_one(x, x == 'a') && self.list.map(x, x + '!').join(',') == 'a!,b!,c!'",
        "self.ints.filter(x, x > 1).size() == 2 && self.ints.sum() == 6 && self.ints.isSorted()",
        "'x-y' in self.map && self.map['x-y'] == 1 && self.map.all(k, self.map[k] > 0)",
        "!has(self.maybe) && has(self.inner.x) && self.?maybe.orValue('none') == 'none'",
        "self.a__dash__b__dot__c == 'dashed' && self.__namespace__ == 'ns'",
        "self.template.kind == 'Pod' && self.template.metadata.name == 'p'",
        "quantity('1Gi').isGreaterThan(quantity('1M')) && isQuantity('5')",
        "cidr('10.0.0.0/8').containsIP(ip('10.1.2.3')) && isIP('::1') && !isCIDR('x')",
        "url('https://example.org:80/path').getHostname() == 'example.org'",
        "!format.dns1123Label().validate('ok').hasValue()",
        "semver('1.2.3').isLessThan(semver('1.10.0'))",
        "sets.contains(self.list, ['a']) && [1, 2] + [3] == self.ints",
        "self.int > 5 ? self.name == 'x' : self.ints[0] == 1",
        "self.ints.exists(x, 1 / (x - 1) > 0) || true",
        "dyn(self.int) == 3 && string(self.int) == '3' && int('7') == 7",
        "'%s-%d'.format([self.list[0], self.int]) == 'a-3'",
    ];
    for rule in rules {
        assert_eq!(
            judged(&everything(), rule, &full()),
            Vec::<String>::new(),
            "{rule}"
        );
    }
}

#[test]
fn violations_have_the_texts_that_clients_know() {
    let object = json!({"int": 1, "list": [], "map": {}});
    let cases = [
        (
            "self.int > 1",
            r#"spec: Invalid value: "object": failed rule: self.int > 1"#,
        ),
        (
            "self.name == 'x'",
            r#"spec: Invalid value: "object": no such key: name evaluating rule: failed rule: self.name == 'x'"#,
        ),
        (
            "self.list[3] == ''",
            r#"spec: Invalid value: "object": index out of bounds: 3 evaluating rule: failed rule: self.list[3] == ''"#,
        ),
        (
            "1 / (self.int - 1) == 0",
            r#"spec: Invalid value: "object": division by zero evaluating rule: failed rule: 1 / (self.int - 1) == 0"#,
        ),
    ];
    for (rule, expected) in cases {
        assert_eq!(judged(&everything(), rule, &object), [expected]);
    }
}

#[test]
fn a_rule_says_what_is_wrong_where_it_says_to() {
    let type_ = json!({"type": "object", "properties": {"min": {"type": "integer"},
        "max": {"type": "integer"}, "labels": {"type": "object",
            "additionalProperties": {"type": "string"}}}});
    let cases = [
        (
            json!({"message": " too small "}),
            "spec: Invalid value: \"object\": too small",
        ),
        (
            json!({"messageExpression": "'max must be over ' + string(self.min)"}),
            "spec: Invalid value: \"object\": max must be over 2",
        ),
        (
            json!({"message": "plain", "messageExpression": "string(1 / 0)"}),
            "spec: Invalid value: \"object\": plain",
        ),
        (
            json!({"message": "m", "reason": "FieldValueForbidden", "fieldPath": ".max"}),
            "spec.max: Forbidden: m",
        ),
        (
            json!({"message": "m", "reason": "FieldValueRequired",
                "fieldPath": ".labels['a.b']"}),
            "spec.labels[a.b]: Required value: m",
        ),
        (
            json!({"message": "m", "reason": "FieldValueDuplicate"}),
            "spec: Duplicate value: \"object\"",
        ),
    ];
    for (mut rule, expected) in cases {
        rule["rule"] = "self.max > self.min".into();
        let schema = ruled(&type_, &json!([rule]));
        assert_eq!(told(check(&schema)), Vec::<String>::new());
        let object = json!({"spec": {"min": 2, "max": 1}});
        assert_eq!(told(violations(&schema, &object, None)), [expected]);
    }
}

#[test]
fn transition_rules_compare_what_belongs_together() {
    let document = json!({"type": "object", "properties": {
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]},
        "named": {"type": "array", "maxItems": 9, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
            "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 9},
                "size": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size"}]}},
        "once": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "!oldSelf.hasValue() || self > oldSelf.value()", "optionalOldSelf": true}]}}});
    let schema = schema(&document);
    assert_eq!(told(check(&schema)), Vec::<String>::new());
    let old = json!({"fixed": "a", "once": 1,
        "named": [{"name": "x", "size": 1}, {"name": "y", "size": 5}]});
    assert_eq!(told(violations(&schema, &old, None)), Vec::<String>::new());
    let new = json!({"fixed": "b", "once": 1,
        "named": [{"name": "y", "size": 4}, {"name": "z", "size": 0}, {"name": "x", "size": 1}]});
    assert_eq!(
        told(violations(&schema, &new, Some(&old))),
        [
            r#"fixed: Invalid value: "string": failed rule: self == oldSelf"#,
            r#"named[0]: Invalid value: "object": failed rule: self.size >= oldSelf.size"#,
            r#"once: Invalid value: "integer": failed rule: !oldSelf.hasValue() || self > oldSelf.value()"#,
        ]
    );
}

#[test]
fn what_was_there_before_a_rule_may_stay() {
    let schema = ruled(&everything(), &json!([{"rule": "self.int > 5"}]));
    let old = json!({"spec": {"int": 1}, "metadata": {"name": "a"}});
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(
        told(violations(&schema, &new, Some(&old))),
        Vec::<String>::new()
    );
    new["spec"]["int"] = 2.into();
    assert_eq!(violations(&schema, &new, Some(&old)).len(), 1);
}

#[test]
fn faults_of_a_definition_are_told_in_the_words_of_the_compiler() {
    let rule = "openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    let cases = [
        (
            json!({"rule": "self.z == 100"}),
            "rule",
            "compilation failed: ERROR: <input>:1:6: undefined field 'z'",
        ),
        (
            json!({"rule": "self = 42"}),
            "rule",
            "compilation failed: ERROR: <input>:1:6: Syntax error: ",
        ),
        (
            json!({"rule": "other.x"}),
            "rule",
            "undeclared reference to 'other'",
        ),
        (
            json!({"rule": "self.int == 'a'"}),
            "rule",
            "found no matching overload for '_==_' applied to '(int, string)'",
        ),
        (
            json!({"rule": "self.int.startsWith('a')"}),
            "rule",
            "found no matching overload for 'startsWith' applied to 'int.(string)'",
        ),
        (
            json!({"rule": "self.int"}),
            "rule",
            "cel expression must evaluate to a bool",
        ),
        (json!({"rule": " "}), "rule", "rule is not specified"),
        (
            json!({"rule": "self.template.spec == 1"}),
            "rule",
            "undefined field 'spec'",
        ),
        (
            json!({"rule": "true\n&& true"}),
            "message",
            "message must be specified if rule contains line breaks",
        ),
        (
            json!({"rule": "true", "message": "a\nb"}),
            "message",
            "must not contain line breaks",
        ),
        (
            json!({"rule": "true", "messageExpression": "1"}),
            "messageExpression",
            "must evaluate to a string",
        ),
        (
            json!({"rule": "true", "reason": "Because"}),
            "reason",
            "Unsupported value: \"Because\"",
        ),
        (
            json!({"rule": "true", "fieldPath": ".nope"}),
            "fieldPath",
            "does not refer to a valid field",
        ),
    ];
    for (given, field, expected) in cases {
        let found = told(check(&ruled(&everything(), &json!([given]))));
        let [line] = found.as_slice() else {
            panic!("{given}: {found:?}")
        };
        assert!(
            line.starts_with(&format!("{rule}.{field}: ")) && line.contains(expected),
            "{line}"
        );
    }
    let list = json!({"type": "array", "items": {"type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}});
    let document = json!({"type": "object", "properties": {"spec": list}});
    let found = told(check(&schema(&document)));
    assert!(
        found[0].contains("uncorrelatable portion of the schema"),
        "{found:?}"
    );
}

#[test]
fn rules_that_could_take_for_ever_are_not_installed() {
    let nested = json!({"type": "object", "properties": {"x": {"type": "array", "items": {
        "type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}}}});
    let found = told(check(&schema(&nested)));
    let expected = "estimated rule cost exceeds budget by factor of more than 100x (try simplifying \
                    the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, \
                    and strings are declared)";
    assert!(found[0].contains(expected), "{found:?}");
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("openAPIV3Schema: Forbidden: "))
    );
    let bounded = json!({"type": "array", "maxItems": 100, "items": {"type": "integer"}});
    let square = "self.all(a, self.all(b, a == b || a < b))";
    assert_eq!(
        told(check(&ruled(&bounded, &json!([{"rule": square}])))),
        Vec::<String>::new()
    );
    let cube = "self.all(a, self.all(b, self.all(c, self.all(d, a + b > c + d))))";
    assert!(!check(&ruled(&bounded, &json!([{"rule": cube}]))).is_empty());
}

#[test]
fn a_rule_that_takes_too_long_is_stopped() {
    let type_ = json!({"type": "array", "maxItems": 725, "items": {"type": "integer"}});
    let rule = "self.all(x, self.all(y, x == y))";
    let object = json!({"spec": vec![20; 725]});
    let schema = ruled(&type_, &json!([{"rule": rule}, {"rule": "false"}]));
    assert_eq!(told(check(&schema)), Vec::<String>::new());
    assert_eq!(
        told(violations(&schema, &object, None)),
        [format!(
            "spec: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no \
             further validation rules will be run due to call cost exceeds limit for rule: failed \
             rule: {rule}"
        )]
    );
}

#[test]
fn a_rule_that_cannot_be_evaluated_is_violated() {
    let schema = ruled(&everything(), &json!([{"rule": "self = 42"}]));
    let found = told(violations(&schema, &json!({"spec": {}}), None));
    assert!(
        matches!(found.as_slice(), [line] if line.contains("rule compile error: ERROR: ")),
        "{found:?}"
    );
}

#[test]
fn the_deepest_trees_are_walked_on_a_small_stack() {
    let deep = [
        format!("1{} > 0", " + 1".repeat(120)),
        format!("{}true", "!".repeat(120)),
        format!("{}true{}", "[".repeat(24), "]".repeat(24)) + ".size() == 1",
        format!("{}true{}", "[1].all(x, ".repeat(15), ")".repeat(15)),
    ];
    for rule in deep {
        judged(&everything(), &rule, &full());
    }
}

#[test]
fn memory_is_bounded_as_well() {
    let type_ = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let text = "a".repeat(1_000_000);
    for rule in [
        "self.text.replace('', self.text) != ''",
        "self.text.split('').map(x, self.text).join() != ''",
        "'%.999999999f'.format([1.0]) != ''",
        "self.text.findAll('').map(x, self.text.findAll('')).size() > 0",
    ] {
        let schema = ruled(&type_, &json!([{"rule": rule}]));
        assert_eq!(
            violations(&schema, &json!({"spec": {"text": text}}), None).len(),
            1,
            "{rule}"
        );
    }
}

/// A list that grows to four times its size so many times.
fn grown(times: usize) -> String {
    let list = (0..times).fold("[1]".to_owned(), |list, _| {
        format!("[{list}].map(v, v + v + v + v)[0]")
    });
    format!("{list}.size() > 0")
}

#[test]
fn looking_at_a_large_value_is_paid_for_before_it_is_done() {
    let type_ = json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "text": {"type": "string"},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}}}});
    let spec = json!({"list": [vec![1; 100_000]], "text": "a".repeat(500_000), "map": {"a": 1}});
    for rule in [
        "[1,2,3,4,5,6,7,8,9,0].all(a, [1,2,3,4,5,6,7,8,9,0].all(b, self.list in [self.list]))",
        "[1,2,3,4,5,6,7,8,9,0].all(a, [1,2,3,4,5,6,7,8,9,0].all(b, self.list == self.list))",
        "self.list[0].all(x, size(self.text) > 0)",
        "self.list[0].all(x, !(self.text in self.map))",
        "self.list[0].all(x, [x, 'text'] != self.list)",
        "self.list[0].all(x, 'a'.matches(string(x) + self.text.substring(0, 10)) || true)",
        "self.list[0].map(x, self.text.substring(0, 500).find('a' + string(x))).size() > 0",
        &grown(12),
    ] {
        let schema = ruled(&type_, &json!([{"rule": rule}]));
        let found = told(violations(&schema, &json!({"spec": spec}), None));
        assert!(found[0].contains("cost limit exceeded"), "{found:?}");
    }
    let cheap = "self.list != [[1]] && self.text != 'a' && self.list == self.list";
    let schema = ruled(&type_, &json!([{"rule": cheap}]));
    assert_eq!(
        told(violations(&schema, &json!({"spec": spec}), None)),
        Vec::<String>::new()
    );
}

#[test]
fn patterns_may_come_from_the_object() {
    let rules = [
        "self.list.all(x, x.matches('^[' + self.list.join('') + ']$'))",
        "'a1b2'.find('[0-9]') == '1' && 'a1b2'.find('x') == ''",
        "'a1b2'.findAll('[0-9]') == ['1', '2'] && 'a1b2'.findAll('[0-9]', 1) == ['1']",
        "'a1b2'.findAll('[0-9]', -1).size() == 2 && !'٤'.matches('\\\\d')",
    ];
    for rule in rules {
        assert_eq!(
            judged(&everything(), rule, &full()),
            Vec::<String>::new(),
            "{rule}"
        );
    }
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("self".to_owned()),
        Just("self.int".to_owned()),
        Just("self.name".to_owned()),
        Just("self.list".to_owned()),
        Just("self.map".to_owned()),
        Just("self.any".to_owned()),
        Just("self.?maybe".to_owned()),
        Just("1".to_owned()),
        Just("-9223372036854775808".to_owned()),
        Just("2.5".to_owned()),
        Just("'a'".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("[1, 'a']".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (two.clone(), "(==|!=|<|>=|\\+|-|\\*|/|%|&&|\\|\\|| in )")
                .prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("size({a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            two.clone().prop_map(|(a, b)| format!("{a}[{b}]")),
            two.clone()
                .prop_map(|(a, b)| format!("dyn({a}).all(x, {b} == x)")),
            two.clone()
                .prop_map(|(a, b)| format!("dyn({a}).map(x, {b})")),
            two.clone()
                .prop_map(|(a, b)| format!("dyn({a}).indexOf({b})")),
            two.clone()
                .prop_map(|(a, b)| format!("dyn({a}).substring(1, {b})")),
            two.clone()
                .prop_map(|(a, b)| format!("dyn({a}).replace({b}, 'x')")),
            two.prop_map(|(a, b)| format!("({a} ? {b} : {b})")),
            inner
                .clone()
                .prop_map(|a| format!("quantity(string({a})).sign()")),
            inner
                .clone()
                .prop_map(|a| format!("timestamp(dyn({a})).getHours()")),
            inner.prop_map(|a| format!("dyn({a}).join(',')")),
        ]
    })
}

proptest! {
    /// Whatever passes the check can be evaluated without a panic.
    #[test]
    fn no_expression_panics(text in expression()) {
        let rule = format!("dyn({text}) == true");
        let schema = ruled(&everything(), &json!([{"rule": rule}]));
        if check(&schema).is_empty() {
            violations(&schema, &json!({"spec": full()}), None);
        }
    }
}
