//! What an evaluation costs, in the units and within the budgets that Kubernetes documents.
//!
//! The same formulas estimate a rule before it is installed (with the greatest sizes that the
//! schema allows) and meter it when it runs (with the sizes at hand).

/// Most that one expression may cost when it runs.
pub(super) const PER_CALL: u64 = 1_000_000;

/// Most that all expressions may cost for one object.
pub(super) const PER_OBJECT: u64 = 10_000_000;

/// Most that one rule may be estimated at, for all places of an object that it applies to.
pub(super) const PER_RULE: u64 = 10_000_000;

/// Most that all rules of a schema may be estimated at.
pub(super) const PER_SCHEMA: u64 = 100_000_000;

/// Reading a variable or a field.
pub(super) const READ: u64 = 1;

/// Making a list.
pub(super) const LIST: u64 = 10;

/// Making a map.
pub(super) const MAP: u64 = 30;

/// Looking at every byte of a string.
pub(super) fn scan(size: u64) -> u64 {
    size.div_ceil(10)
}

/// One call of a function or operator, by the sizes of its target and arguments, in that order.
pub(super) fn call(name: &str, sizes: &[u64]) -> u64 {
    let size = |index: usize| sizes.get(index).copied().unwrap_or(1);
    let (a, b) = (size(0), size(1));
    match name {
        "_&&_" | "_||_" | "_?_:_" | "@not_strictly_false" => 0,
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => scan(a.min(b)).max(1),
        "_+_" => scan(a.saturating_add(b)).max(1),
        "@in" => b.max(1),
        "startsWith" | "endsWith" => scan(b).max(1),
        "contains" => scan(a).max(1).saturating_mul(scan(b).max(1)),
        "matches" | "find" | "findAll" => {
            scan(a.saturating_add(1)).saturating_mul(b.div_ceil(4).max(1))
        }
        "isSorted" | "sum" | "min" | "max" => a.max(1),
        "indexOf" | "lastIndexOf" => a.max(1).saturating_mul(scan(b).max(1)),
        "sets.contains" | "sets.intersects" | "sets.equivalent" => a.saturating_mul(b).max(1),
        // What comes out is larger than what goes in.
        "replace" => {
            let places = a.saturating_add(1).div_ceil(b.max(1));
            scan(a)
                .saturating_add(scan(places.saturating_mul(size(2))))
                .max(1)
        }
        "split" => a.saturating_mul(2).max(1),
        "join" => scan(a.saturating_mul(b.saturating_add(1))).max(1),
        "string" | "bytes" | "int" | "uint" | "double" | "timestamp" | "duration"
        | "lowerAscii" | "upperAscii" | "substring" | "trim" | "charAt" | "format"
        | "strings.quote" | "quantity" | "isQuantity" | "url" | "isURL" | "ip" | "isIP"
        | "ip.isCanonical" | "cidr" | "isCIDR" | "semver" | "isSemver" | "validate" => {
            scan(a).max(scan(b)).max(1)
        }
        _ => 1,
    }
}

/// Compiling a pattern that is not part of the rule.
pub(super) fn compile(pattern: &str) -> u64 {
    (pattern.len() as u64)
        .saturating_mul(50)
        .saturating_add(1000)
}

/// How far an estimate is over its budget, as an error says it.
pub(super) fn excess(what: &str, cost: u64, budget: u64) -> Option<String> {
    if cost <= budget {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let factor = cost as f64 / budget as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    Some(format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding \
         maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    ))
}

/// Counts what an evaluation costs.
#[derive(Debug)]
pub(super) struct Meter {
    /// Left for the object.
    object: u64,
    /// Left for the expression that runs.
    call: u64,
}

/// The work has reached its bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            object: PER_OBJECT,
            call: 0,
        }
    }

    /// Begins the next expression; false when nothing is left for it.
    pub(super) fn next_call(&mut self) -> bool {
        self.call = PER_CALL.min(self.object);
        self.object > 0
    }

    /// Sizes beyond this cost more than is left, whatever is done with them.
    pub(super) fn reach(&self) -> u64 {
        self.call.saturating_add(1).saturating_mul(10)
    }

    pub(super) fn charge(&mut self, cost: u64) -> Result<(), Exhausted> {
        self.object = self.object.saturating_sub(cost);
        let left = self.call.checked_sub(cost);
        self.call = left.unwrap_or_default();
        left.map(drop).ok_or(Exhausted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_sizes_have_a_cost() {
        let names = [
            "_==_",
            "_+_",
            "@in",
            "contains",
            "matches",
            "replace",
            "join",
            "split",
            "size",
            "indexOf",
            "sets.contains",
            "format",
        ];
        for name in names {
            assert!(call(name, &[u64::MAX; 3]) > 0, "{name}");
        }
    }
}
