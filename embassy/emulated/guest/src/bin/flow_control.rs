#![no_std]
#![no_main]
#![allow(missing_docs)]

eyeflow_emulated_guest::guest!(FlowControl);
