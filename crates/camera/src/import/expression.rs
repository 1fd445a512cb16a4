//! Deforum's schedules: `0:(0), 60:(1.02+0.02*sin(2*3.14*t/20))`.

use crate::Error;
use crate::shot::MAX_FRAMES;

/// The longest schedule in bytes.
const MAX_SCHEDULE: usize = 1 << 20;
/// The longest expression in bytes.
const MAX_EXPRESSION: usize = 4096;
/// The deepest nesting of an expression.
const MAX_NESTING: usize = 64;
/// The most steps that a schedule's evaluation may take.
const MAX_STEPS: usize = 100_000_000;

/// What expressions may refer to besides `t`, the picture's number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleContext {
    /// How many pictures there are, 1..=1,000,000. Deforum's `max_f` is one less.
    pub frames: u32,
}

/// A value over time as Deforum writes it: numbers or expressions at pictures.
///
/// Between two numbers the value goes evenly; before the first and after the last it stays. An expression is evaluated at
/// each picture from its own up to the next entry. Expressions know `+ - * / % **`, brackets, `t`, `max_f`, `pi`, `e`, and
/// the functions `sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh exp log log10 sqrt abs floor ceil pow min max`,
/// angles in radians, as numexpr does.
#[derive(Debug, Clone)]
pub struct Schedule {
    entries: Vec<(u32, Entry)>,
}

#[derive(Debug, Clone)]
enum Entry {
    Number(f64),
    Expression(Vec<Step>),
}

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |what: &str, position: usize| Err(syntax(what, position));
        if text.len() > MAX_SCHEDULE {
            return Err(Error::TooMany { what: "bytes in a Deforum schedule", count: text.len(), limit: MAX_SCHEDULE });
        }
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut entries: Vec<(u32, Entry)> = Vec::new();
        let skip = |at: &mut usize| {
            while bytes.get(*at).is_some_and(u8::is_ascii_whitespace) {
                *at += 1;
            }
        };
        loop {
            skip(&mut at);
            if at == bytes.len() {
                break;
            }
            let start = at;
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            let Some(frame) = text.get(start..at).and_then(|digits| digits.parse::<u32>().ok()) else {
                return fail("expected the number of a picture", start);
            };
            skip(&mut at);
            if bytes.get(at) != Some(&b':') {
                return fail("expected ':' after the number of a picture", at);
            }
            at += 1;
            skip(&mut at);
            if bytes.get(at) != Some(&b'(') {
                return fail("expected '(' before the value", at);
            }
            at += 1;
            let start = at;
            let mut open = 1_usize;
            while open > 0 {
                match bytes.get(at) {
                    Some(b'(') => open += 1,
                    Some(b')') => open -= 1,
                    Some(_) => {}
                    None => return fail("a bracket is not closed", start - 1),
                }
                at += 1;
            }
            let value = text.get(start..at - 1).unwrap_or_default();
            entries.push((frame, parse_value(value, start)?));
            skip(&mut at);
            match bytes.get(at) {
                Some(b',') => at += 1,
                None => break,
                Some(_) => return fail("expected ',' between two values", at),
            }
        }
        if entries.is_empty() {
            return fail("there is no value", 0);
        }
        // As in a Python dictionary, the last of several entries for one picture counts.
        entries.reverse();
        entries.sort_by_key(|entry| entry.0);
        entries.dedup_by_key(|entry| entry.0);
        Ok(Self { entries })
    }

    /// The values at all pictures; an error if one is not a finite number.
    pub fn values(&self, context: ScheduleContext) -> Result<Vec<f64>, Error> {
        let count = context.frames.clamp(1, MAX_FRAMES);
        let mut values = vec![f64::NAN; count as usize];
        let mut steps = 0_usize;
        let mut stack = Vec::new();
        let max_f = f64::from(count - 1);
        // First what is said, then what lies between.
        let mut said: Vec<(u32, f64)> = Vec::new();
        for (index, (frame, entry)) in self.entries.iter().enumerate() {
            match entry {
                Entry::Number(value) => said.push((*frame, *value)),
                Entry::Expression(program) => {
                    let next = self.entries.get(index + 1).map_or(count, |next| next.0.min(count));
                    steps = steps.saturating_add(program.len().saturating_mul(next.saturating_sub(*frame) as usize));
                    if steps > MAX_STEPS {
                        return Err(Error::TooMany {
                            what: "steps to reckon a schedule",
                            count: steps,
                            limit: MAX_STEPS,
                        });
                    }
                    for t in *frame..next {
                        let value = run(program, f64::from(t), max_f, &mut stack);
                        if !value.is_finite() {
                            return Err(Error::OutOfRange {
                                what: format!("The Deforum schedule's value at picture {t}"),
                                value,
                                expected: "a finite number",
                            });
                        }
                        said.push((t, value));
                    }
                }
            }
        }
        let Some((first, last)) = said.first().zip(said.last()).map(|(a, b)| (*a, *b)) else {
            // All entries are expressions that begin after the last picture.
            return Err(syntax("no value applies to any picture of the film", 0));
        };
        for (frame, value) in values.iter_mut().enumerate() {
            if (frame as u32) < first.0 {
                *value = first.1;
            } else if frame as u32 >= last.0 {
                *value = last.1;
            }
        }
        for pair in said.windows(2) {
            let ((from, a), (to, b)) = (pair[0], pair[1]);
            for frame in from..to.min(count) {
                let t = f64::from(frame - from) / f64::from(to - from);
                values[frame as usize] = crate::easing::mix(a, b, t);
            }
        }
        Ok(values)
    }
}

fn syntax(what: &str, position: usize) -> Error {
    Error::Syntax { format: "Deforum schedule", what: what.into(), position }
}

fn parse_value(text: &str, offset: usize) -> Result<Entry, Error> {
    let trimmed = text.trim();
    let numeric = trimmed.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'e' | b'E'));
    if let (true, Ok(value)) = (numeric, trimmed.parse::<f64>()) {
        return if value.is_finite() {
            Ok(Entry::Number(value))
        } else {
            Err(syntax("the number is too large", offset))
        };
    }
    if text.len() > MAX_EXPRESSION {
        return Err(Error::TooMany { what: "bytes in an expression", count: text.len(), limit: MAX_EXPRESSION });
    }
    let mut parser = Parser { bytes: text.as_bytes(), text, at: 0, offset, nesting: 0, program: Vec::new() };
    parser.sum()?;
    parser.skip();
    if parser.at < parser.bytes.len() {
        return Err(parser.fail("expected an operator"));
    }
    Ok(Entry::Expression(parser.program))
}

/// One step of an expression in postfix order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Number(f64),
    Time,
    Last,
    Negate,
    Binary(Binary),
    One(fn(f64) -> f64),
    Two(fn(f64, f64) -> f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

fn run(program: &[Step], t: f64, last: f64, stack: &mut Vec<f64>) -> f64 {
    stack.clear();
    // The parser makes only programs that find what they take; NaN stands for what cannot be.
    for step in program {
        let value = match *step {
            Step::Number(value) => value,
            Step::Time => t,
            Step::Last => last,
            Step::Negate => -stack.pop().unwrap_or(f64::NAN),
            Step::One(function) => function(stack.pop().unwrap_or(f64::NAN)),
            Step::Two(function) => {
                let b = stack.pop().unwrap_or(f64::NAN);
                function(stack.pop().unwrap_or(f64::NAN), b)
            }
            Step::Binary(operator) => {
                let b = stack.pop().unwrap_or(f64::NAN);
                let a = stack.pop().unwrap_or(f64::NAN);
                match operator {
                    Binary::Add => a + b,
                    Binary::Subtract => a - b,
                    Binary::Multiply => a * b,
                    Binary::Divide => a / b,
                    Binary::Remainder => a % b,
                    Binary::Power => a.powf(b),
                }
            }
        };
        stack.push(value);
    }
    stack.pop().unwrap_or(f64::NAN)
}

struct Parser<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    offset: usize,
    nesting: usize,
    program: Vec<Step>,
}

impl Parser<'_> {
    fn fail(&self, what: &str) -> Error {
        syntax(what, self.offset + self.at)
    }

    fn skip(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(token.as_bytes()));
        if found {
            self.at += token.len();
        }
        found
    }

    fn deeper(&mut self) -> Result<(), Error> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING { Err(self.fail("the expression is nested too deeply")) } else { Ok(()) }
    }

    fn sum(&mut self) -> Result<(), Error> {
        self.deeper()?;
        self.product()?;
        loop {
            let operator = if self.eat("+") {
                Binary::Add
            } else if self.eat("-") {
                Binary::Subtract
            } else {
                break;
            };
            self.product()?;
            self.program.push(Step::Binary(operator));
        }
        self.nesting -= 1;
        Ok(())
    }

    fn product(&mut self) -> Result<(), Error> {
        self.signed()?;
        loop {
            let operator = if self.eat("*") {
                Binary::Multiply
            } else if self.eat("/") {
                Binary::Divide
            } else if self.eat("%") {
                Binary::Remainder
            } else {
                break;
            };
            self.signed()?;
            self.program.push(Step::Binary(operator));
        }
        Ok(())
    }

    /// A sign binds less tightly than a power to its right: -2**2 is -4.
    fn signed(&mut self) -> Result<(), Error> {
        let mut negative = false;
        loop {
            if self.eat("-") {
                negative = !negative;
            } else if !self.eat("+") {
                break;
            }
        }
        self.power()?;
        if negative {
            self.program.push(Step::Negate);
        }
        Ok(())
    }

    fn power(&mut self) -> Result<(), Error> {
        self.atom()?;
        if self.eat("**") {
            self.deeper()?;
            self.signed()?;
            self.nesting -= 1;
            self.program.push(Step::Binary(Binary::Power));
        }
        Ok(())
    }

    fn atom(&mut self) -> Result<(), Error> {
        if self.eat("(") {
            self.sum()?;
            return if self.eat(")") { Ok(()) } else { Err(self.fail("expected ')'")) };
        }
        self.skip();
        let start = self.at;
        match self.bytes.get(start) {
            Some(b) if b.is_ascii_digit() || *b == b'.' => self.number(),
            Some(b) if b.is_ascii_alphabetic() || *b == b'_' => {
                while self.bytes.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
                    self.at += 1;
                }
                self.name(start)
            }
            _ => Err(self.fail("expected a number, a name or '('")),
        }
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        let digits = |at: &mut usize| {
            while self.bytes.get(*at).is_some_and(|b| b.is_ascii_digit() || *b == b'.') {
                *at += 1;
            }
        };
        let mut at = start;
        digits(&mut at);
        if matches!(self.bytes.get(at), Some(b'e' | b'E')) {
            let mut after = at + 1;
            if matches!(self.bytes.get(after), Some(b'+' | b'-')) {
                after += 1;
            }
            if self.bytes.get(after).is_some_and(u8::is_ascii_digit) {
                at = after;
                digits(&mut at);
            }
        }
        match self.text.get(start..at).and_then(|number| number.parse::<f64>().ok()) {
            Some(value) if value.is_finite() => {
                self.at = at;
                self.program.push(Step::Number(value));
                Ok(())
            }
            _ => Err(self.fail("this is not a number")),
        }
    }

    fn name(&mut self, start: usize) -> Result<(), Error> {
        let name = self.text.get(start..self.at).unwrap_or_default();
        let one: fn(f64) -> f64 = match name {
            "sin" => f64::sin,
            "cos" => f64::cos,
            "tan" => f64::tan,
            "arcsin" => f64::asin,
            "arccos" => f64::acos,
            "arctan" => f64::atan,
            "sinh" => f64::sinh,
            "cosh" => f64::cosh,
            "tanh" => f64::tanh,
            "exp" => f64::exp,
            "log" => f64::ln,
            "log10" => f64::log10,
            "sqrt" => f64::sqrt,
            "abs" => f64::abs,
            "floor" => f64::floor,
            "ceil" => f64::ceil,
            _ => {
                let two: fn(f64, f64) -> f64 = match name {
                    "arctan2" => f64::atan2,
                    "pow" => f64::powf,
                    "min" => f64::min,
                    "max" => f64::max,
                    _ => {
                        let step = match name {
                            "t" => Step::Time,
                            "max_f" => Step::Last,
                            "pi" => Step::Number(std::f64::consts::PI),
                            "e" => Step::Number(std::f64::consts::E),
                            _ => {
                                self.at = start;
                                return Err(self.fail("this name is not known"));
                            }
                        };
                        self.program.push(step);
                        return Ok(());
                    }
                };
                self.arguments(2)?;
                self.program.push(Step::Two(two));
                return Ok(());
            }
        };
        self.arguments(1)?;
        self.program.push(Step::One(one));
        Ok(())
    }

    fn arguments(&mut self, count: usize) -> Result<(), Error> {
        for index in 0..count {
            if !self.eat(if index == 0 { "(" } else { "," }) {
                return Err(self.fail("the function has too few arguments"));
            }
            self.sum()?;
        }
        if self.eat(")") { Ok(()) } else { Err(self.fail("expected ')'")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(text: &str, frames: u32) -> Vec<f64> {
        Schedule::parse(text).unwrap().values(ScheduleContext { frames }).unwrap()
    }

    fn value(expression: &str, t: u32) -> f64 {
        values(&format!("0:({expression})"), t + 1)[t as usize]
    }

    #[test]
    fn numbers_go_evenly_and_stay_at_the_ends() {
        assert_eq!(values("2:(1), 6: (3),", 9), [1.0, 1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0]);
        assert_eq!(values("0:(5)", 2), [5.0, 5.0]);
        // An end beyond the film still gives the way there; the later of two entries counts.
        assert_eq!(values("0:(0), 10:(7), 10:(10)", 3), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn expressions_hold_until_the_next_entry() {
        assert_eq!(values("0:(t*2), 3:(1), 5:(3)", 7), [0.0, 2.0, 4.0, 1.0, 2.0, 3.0, 3.0]);
        // From a number to an expression evenly.
        assert_eq!(values("0:(0), 2:(t+2)", 4), [0.0, 2.0, 4.0, 5.0]);
    }

    #[test]
    fn arithmetic() {
        assert_eq!(value("1+2*3-4/2", 0), 5.0);
        assert_eq!(value("-2**2", 0), -4.0);
        assert_eq!(value("2**3**2", 0), 512.0);
        assert_eq!(value("2**-1", 0), 0.5);
        assert_eq!(value("(1 + 2) * -3", 0), -9.0);
        assert_eq!(value("pow(t, 2) % 5", 3), 4.0);
        assert_eq!(value("min(t, max_f) + 1e-1*10", 4), 5.0);
        let expected = 1.02 + 0.02 * (2.0 * 3.2 * 7.0 / 20.0_f64).sin();
        assert!((value("1.02+0.02*sin(2*3.2*t/20)", 7) - expected).abs() < 1e-15);
        assert!((value("cos(pi)", 0) + 1.0).abs() < 1e-15);
    }

    #[test]
    fn what_is_hostile_or_wrong_is_refused() {
        for text in [
            "",
            "abc",
            "0",
            "0:",
            "0:1",
            "0:(1",
            "0:()",
            "0:(1) 2:(3)",
            "0:(foo)",
            "0:(sin)",
            "0:(pow(1))",
            "0:(1 2)",
            "0:(1..2)",
            "0:(inf)",
            "0:(nan)",
            "0:(1e999)",
            "-1:(0)",
            "99999999999:(0)",
            "0:(__import__('os'))",
            "0:(é)",
        ] {
            assert!(matches!(Schedule::parse(text), Err(Error::Syntax { .. })), "{text}");
        }
        let deep = format!("0:({}1{})", "(".repeat(1000), ")".repeat(1000));
        assert!(Schedule::parse(&deep).is_err());
        assert!(Schedule::parse(&format!("0:({}1)", "2**".repeat(500))).is_err());
        assert!(Schedule::parse(&format!("0:({}t)", "-".repeat(4000))).is_ok());
        assert!(Schedule::parse(&format!("0:(t{})", "+t".repeat(4000))).is_err());
        assert!(Schedule::parse(&" ".repeat(MAX_SCHEDULE + 1)).is_err());
        let heavy = Schedule::parse(&format!("0:(t{})", "+t".repeat(1000))).unwrap();
        assert!(matches!(heavy.values(ScheduleContext { frames: 1_000_000 }), Err(Error::TooMany { .. })));
        for text in ["0:(1/t)", "0:(log(0-1))", "0:(10**400)"] {
            assert!(matches!(
                Schedule::parse(text).unwrap().values(ScheduleContext { frames: 2 }),
                Err(Error::OutOfRange { .. })
            ));
        }
        assert!(Schedule::parse("9:(t)").unwrap().values(ScheduleContext { frames: 2 }).is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[0-9:(),.+*/ a-z%-]{0,60}") {
            if let Ok(schedule) = Schedule::parse(&text) {
                let _ = schedule.values(ScheduleContext { frames: 5 });
            }
        }
    }
}
