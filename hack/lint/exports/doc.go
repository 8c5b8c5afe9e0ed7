// Command exports names what a package of the module exports and no other package uses, tests outside the package
// included. It looks at functions, types, variables, constants, and methods of exported types; fields are left alone, for
// encoders find them by reflection.
//
// These count as used, too: a method that an interface in sight wants, a type in the signature or the fields of something
// that is used, and the whole of a group of constants or variables of which one is used.
package main
