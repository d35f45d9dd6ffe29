package deliver

import "strings"

// Unknown is the reason of a delivery that was given up because its destination is gone.
const Unknown = "the destination is no longer in the configuration"

// Remedy says what helps a delivery that was given up, by the words that were kept of its last attempt. The words are
// ours and those of standards: what a destination adds is not looked at.
func Remedy(lastError string) string {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(lastError, w) {
				return true
			}
		}
		return false
	}
	const then = ", then run 'ichor replay'"
	switch {
	case has(Unknown):
		return "put the destination back into the configuration" + then + ", or give it up with 'ichor dead-letters discard'"
	case has("status 0122H", "status 0118H", "presentation context"):
		return "set the destination up to store this SOP class" + then
	case has("status 0124H"):
		return "allow us to store at the destination" + then
	case has("status A9", "status C", "status 01"):
		return "the destination's own log says what it found wrong with the object; mend that" + then
	case has("association rejected"):
		return "make our AE title and address known to the destination and check its own title" + then
	case has("HTTP 401", "HTTP 403", "HTTP 404", "HTTP 405", "HTTP 3"):
		return "check url and credentials of the destination" + then
	case has("result object in", "reading the object"):
		return "its file is lost or damaged: 'ichor retry CASE' writes it anew" + then
	case has("commit"):
		return "see that the destination keeps what it stored and can report to us" + then
	}
	return "see that the destination answers ('ichor check')" + then
}
