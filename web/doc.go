// Package web serves the browser client, which is embedded in the binary.
//
// The client is native ES modules and plain CSS under static/: there is no
// build step, what the browser runs is what is in the repository.
//
//	static/*.html      one file a page; only %NAMES% are filled in (placeholders)
//	static/css         styles
//	static/js/client   protocol, negotiation, devices, statistics: no DOM, usable by others
//	static/js/ui       what is on the screen
//	static/js/lib      signals, element helper, translations
//	static/i18n        one catalogue a language, all with the same keys
//
// The package is a leaf of the product: it imports nothing of ours.
package web
