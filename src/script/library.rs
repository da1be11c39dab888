//! Libraries of functions.
//!
//! Invariant: a function's name, in any letter case, belongs to one library. All libraries share one interpreter, so that
//! what a function remembers from call to call it remembers whichever worker calls it.

use super::engine::{Chunk, Kind, Registered, Vm};
use super::header::{BAD_NAME, ScriptFlags, is_name, library_name};
use super::host::Host;
use std::collections::HashMap;

/// What a function costs beside its names, in bytes, for `used_memory_functions`.
const FUNCTION_OVERHEAD: usize = 200;

/// A library.
pub struct Library {
    /// Its name.
    pub name: Vec<u8>,
    /// Its text.
    pub code: Box<[u8]>,
    /// Its functions.
    pub functions: Vec<Registered>,
}

/// A function that is to be called.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// What runs.
    pub chunk: Chunk,
    /// What it says of itself.
    pub flags: ScriptFlags,
}

/// What FUNCTION RESTORE does with what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestorePolicy {
    /// A library of the same name is an error.
    Append,
    /// A library of the same name is replaced.
    Replace,
    /// Everything goes first.
    Flush,
}

/// All libraries.
#[derive(Default)]
pub struct Libraries {
    libraries: Vec<Library>,
    /// Place of each function's library, and of the function in it, by its name in lower case.
    functions: HashMap<Vec<u8>, Function>,
    vm: Option<Box<Vm>>,
    /// The interpreter is with a function that runs for long.
    away: bool,
}

/// The interpreter is with a function that runs for long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Away;

/// An error with its whole text.
pub type Refused = Vec<u8>;

fn refused(text: impl AsRef<[u8]>) -> Refused {
    [b"ERR ", text.as_ref()].concat()
}

impl Libraries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.libraries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty()
    }

    /// How many functions there are.
    pub fn functions(&self) -> usize {
        self.libraries.iter().map(|library| library.functions.len()).sum()
    }

    /// Bytes that the interpreter holds.
    pub fn vm_bytes(&self) -> usize {
        self.vm.as_ref().map_or(0, |vm| vm.used_bytes())
    }

    /// Bytes of texts and names.
    pub fn used_bytes(&self) -> usize {
        let library = |library: &Library| library.code.len() + library.functions.len() * FUNCTION_OVERHEAD;
        self.libraries.iter().map(library).sum()
    }

    /// The function of this name, in any letter case.
    pub fn function(&self, name: &[u8]) -> Option<Function> {
        self.functions.get(&name.to_ascii_lowercase()).copied()
    }

    /// Every library, in the order in which they came.
    pub fn all(&self) -> impl Iterator<Item = &Library> {
        self.libraries.iter()
    }

    fn has(&self, name: &[u8]) -> bool {
        self.libraries.iter().any(|library| library.name == name)
    }

    /// Takes the interpreter, to be given back.
    ///
    /// # Errors
    /// A function that runs for long has it.
    pub fn take_vm(&mut self) -> Result<Box<Vm>, Away> {
        if self.away {
            return Err(Away);
        }
        self.away = true;
        self.vm.take().or_else(|| Vm::new(Kind::Functions).map(Box::new).ok()).ok_or(Away)
    }

    /// Gives the interpreter back.
    pub fn give_vm(&mut self, vm: Box<Vm>) {
        self.away = false;
        self.vm = Some(vm);
    }

    /// Whether a function that runs for long has the interpreter.
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// Loads a library and returns its name.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub fn load(&mut self, code: &[u8], replace: bool, host: &mut dyn Host) -> Result<Vec<u8>, Refused> {
        let name = library_name(code).map_err(refused)?;
        let there = self.has(&name);
        if there && !replace {
            return Err(refused(format!("Library '{}' already exists", String::from_utf8_lossy(&name))));
        }
        let mut vm = self.take_vm().map_err(|Away| refused("the interpreter is in use"))?;
        let loaded = vm.load(code, host);
        let result = loaded.and_then(|functions| match self.check(&name, &functions) {
            Ok(()) => Ok(functions),
            Err(text) => {
                functions.into_iter().for_each(|function| vm.forget(function.chunk));
                Err(text)
            }
        });
        self.give_vm(vm);
        let functions = result?;
        if there {
            self.delete(&name);
        }
        for function in &functions {
            let entry = Function { chunk: function.chunk, flags: function.flags };
            // Of names in one library that differ in letter case alone the first is found by all of them.
            self.functions.entry(function.name.to_ascii_lowercase()).or_insert(entry);
        }
        self.libraries.push(Library { name: name.clone(), code: code.into(), functions });
        Ok(name)
    }

    /// Whether functions of a library may have their names.
    fn check(&self, library: &[u8], functions: &[Registered]) -> Result<(), Refused> {
        for (index, function) in functions.iter().enumerate() {
            if !is_name(&function.name) {
                return Err(refused(format!("Function {BAD_NAME}")));
            }
            if functions[..index].iter().any(|other| other.name == function.name) {
                return Err(refused("Function already exists in the library"));
            }
        }
        if functions.is_empty() {
            return Err(refused("No functions registered"));
        }
        for name in functions.iter().map(|function| &function.name) {
            let same = |other: &Registered| other.name.eq_ignore_ascii_case(name);
            if self.libraries.iter().any(|other| other.name != library && other.functions.iter().any(same)) {
                return Err(refused(format!("Function {} already exists", String::from_utf8_lossy(name))));
            }
        }
        Ok(())
    }

    /// Removes a library; `false` when there is none of this name.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        let Some(place) = self.libraries.iter().position(|library| library.name == name) else { return false };
        for function in self.libraries.remove(place).functions {
            self.functions.remove(&function.name.to_ascii_lowercase());
            if let Some(vm) = &mut self.vm {
                vm.forget(function.chunk);
            }
        }
        true
    }

    /// Removes everything, and the interpreter with it.
    pub fn clear(&mut self) {
        *self = Libraries::default();
    }

    fn check_absent(&self, codes: &[Vec<u8>]) -> Result<(), Refused> {
        let there = codes.iter().filter_map(|code| library_name(code).ok()).find(|name| self.has(name));
        there.map_or(Ok(()), |name| Err(refused(format!("Library {} already exists", String::from_utf8_lossy(&name)))))
    }

    /// Loads libraries from their texts: all, or none.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn restore(&mut self, codes: &[Vec<u8>], policy: RestorePolicy, host: &mut dyn Host) -> Result<(), Refused> {
        if policy == RestorePolicy::Flush {
            let mut fresh = Libraries::default();
            for code in codes {
                fresh.load(code, false, host)?;
            }
            *self = fresh;
            return Ok(());
        }
        if policy == RestorePolicy::Append {
            self.check_absent(codes)?;
        }
        let before: Vec<Box<[u8]>> = self.libraries.iter().map(|library| library.code.clone()).collect();
        for code in codes {
            if let Err(text) = self.load(code, policy == RestorePolicy::Replace, host) {
                self.clear();
                for code in before {
                    let _ = self.load(&code, false, host); // they were loaded before
                }
                return Err(text);
            }
        }
        Ok(())
    }
}
