package pac

import (
	"fmt"
	"slices"
	"strings"
)

// nativeCall is the name of program.call in the engine, until the prelude deletes it.
const nativeCall = "culvertCall"

// prelude returns source that defines the helper functions in a new engine. A script may
// replace them by its own, as some do.
//
// The pattern of shExpMatch is a regular expression except for three characters, as in
// Firefox and Chromium: a dot is a dot, * any text and ? any character. All others mean
// what they mean to RegExp, so (a|b) and [0-9] work, and a lone ( throws.
func prelude() string {
	var defined []string
	for name, h := range helpers {
		defined = append(defined, fmt.Sprintf("helper(%q, %d);", name, h.least))
	}
	slices.Sort(defined)
	return `(function (call) {
"use strict";
const text = String, Pattern = RegExp;
function helper(name, least) {
	globalThis[name] = {[name](...given) {
		const args = [];
		for (let i = 0; i < least || i < given.length; i++) args[i] = text(given[i]);
		return call(name, ...args);
	}}[name];
}
` + strings.Join(defined, "\n") + `
globalThis.shExpMatch = function shExpMatch(string, pattern) {
	const means = {".": "\\.", "*": ".*", "?": "."};
	return new Pattern("^" + text(pattern).replace(/[.*?]/g, (c) => means[c]) + "$").test(text(string));
};
delete globalThis.` + nativeCall + `;
})(` + nativeCall + `);`
}

// isHelper reports whether name is that of a function of the prelude, in a stack frame.
func isHelper(name string) bool {
	return helpers[name].call != nil || name == "shExpMatch" || name == questionName
}

// questionName is the name of the function in question, for stack frames.
const questionName = "culvertAsk"

// chooseFunction is an expression whose value is the name of the function to call, or
// "". Only Windows calls the one with Ex, and browsers on other systems the other, so
// the one with Ex counts only if a script has no other.
const chooseFunction = `typeof FindProxyForURL === "function" ? "FindProxyForURL" :
	typeof FindProxyForURLEx === "function" ? "FindProxyForURLEx" : ""`

// question returns an expression that calls the function. Its value is the kind of the
// answer and, for a string, a space and the string.
func question(function, url, host string) string {
	return fmt.Sprintf(`(function %s() {
const answer = %s(%q, %q);
return answer === null ? "null" : typeof answer === "string" ? "string " + answer : typeof answer;
})()`, questionName, function, url, host)
}
