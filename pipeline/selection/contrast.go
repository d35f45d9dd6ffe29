package selection

import (
	"slices"
	"strings"

	"ichor/scp/dcm"
)

// contrast is what the headers say of an agent.
type contrast int

const (
	plain       contrast = iota
	doubtful             // named in one place, denied or not named in another
	enhanced             // an agent is named, or the description says so
	angiography          // after the description
	perfusion            // after the description
)

// contrastOf reads the agent (0018,0010), (0018,0012) and what the series is called; why is the word that tells. A protocol
// is often one for all its series, the plain one too, so its name alone does not say that agent was given.
func contrastOf(h *dcm.DataSet) (c contrast, why string) {
	series, protocol, agent := words(h, dcm.SeriesDescription), words(h, dcm.ProtocolName), agentOf(h)
	if h.String(dcm.SOPClassUID) != dcm.CTImageStorage { // a multi-frame object is called Enhanced without any agent
		series = slices.DeleteFunc(series, func(w string) bool { return w == "ENHANCED" })
	}
	denied := which(series, plainWords)
	switch {
	case which(series, perfusionWords) != "":
		return perfusion, which(series, perfusionWords)
	case denied == "" && which(series, angioWords) != "":
		return angiography, which(series, angioWords)
	case agent != "" && (denied != "" || which(protocol, plainWords) != ""):
		return doubtful, agent
	case agent != "":
		return enhanced, agent
	case denied != "":
		return plain, ""
	case which(series, contrastWords) != "":
		return enhanced, which(series, contrastWords)
	case after(series) != "":
		return doubtful, after(series)
	case which(protocol, plainWords) != "":
		return plain, ""
	}
	for _, known := range [][]string{perfusionWords, angioWords, contrastWords} {
		if w := which(protocol, known); w != "" {
			return doubtful, w
		}
	}
	return plain, ""
}

// after is the word in a description that means after contrast agent, most likely: POST at its end, not in "post fossa" or
// "post op"; DELAYED.
func after(series []string) string {
	for i, w := range series {
		switch {
		case w == "DELAYED", w == "DELAY", w == "POST" && (i+1 == len(series) || series[i+1] == "MM"):
			return w
		}
	}
	return ""
}

// agentOf names the agent; "" is none. What was drunk does not reach the brain.
func agentOf(h *dcm.DataSet) string {
	if route := strings.ToUpper(h.String(dcm.ContrastBolusRoute)); strings.Contains(route, "ORAL") || strings.Contains(route, "RECTAL") {
		return ""
	}
	v := strings.ToUpper(strings.TrimSpace(h.String(dcm.ContrastBolusAgent)))
	if coded := h.Sequence(dcm.ContrastBolusAgentSequence); v == "" && len(coded) > 0 {
		if v = strings.ToUpper(coded[0].String(dcm.CodeMeaning)); v == "" {
			v = "CODED"
		}
	}
	if slices.Contains([]string{"NONE", "NO", "N", "NO CONTRAST", "0", "NATIV", "NATIVE", "WITHOUT", "PLAIN", "NON CONTRAST", "OHNE", "N/A"}, v) {
		return ""
	}
	return v
}
