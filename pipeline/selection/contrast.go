package selection

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"ichor/scp/dcm"
)

// contrast is what the headers say about a contrast agent.
type contrast int

const (
	plain       contrast = iota
	doubtful             // one attribute names an agent, another denies it or does not name one
	enhanced             // an agent is named, or the description says so
	angiography          // by the description
	perfusion            // by the description
)

// contrastOf reads the agent, its volume and route ((0018,0010), (0018,0012), (0018,1041), (0018,1040)), and the descriptions
// of series, protocol and study. why gives the deciding attribute and word, "" for plain. Protocol and study descriptions often
// cover all series, including the plain one, so they alone do not mean that a contrast agent was given.
func contrastOf(h *dcm.DataSet) (c contrast, why string) {
	series, protocol := words(h, dcm.SeriesDescription), words(h, dcm.ProtocolName)
	study := words(h, dcm.StudyDescription, dcm.RequestedProcedureDescription)
	if h.String(dcm.SOPClassUID) != dcm.CTImageStorage { // multi-frame objects are called Enhanced even without contrast agent
		series = slices.DeleteFunc(series, func(w string) bool { return w == "ENHANCED" })
	}
	agent, agentDenied := agentOf(h)
	volume, volumeSaid := h.Float(dcm.ContrastBolusVolume)
	word := func(where, w string) string {
		if w == "" {
			return ""
		}
		return fmt.Sprintf("%s %.30q", where, w)
	}
	const inAgent, inSeries, inProtocol, inStudy = "Contrast/Bolus Agent", "Series Description", "Protocol Name", "Study Description"
	agentDenies := word(inAgent, agentDenied)
	seriesDenies := word(inSeries, which(series, plainWords))
	protocolDenies := word(inProtocol, which(protocol, plainWords))
	studyDenies := ""
	if which(study, contrastWords) == "" || which(study, []string{"AND", "W", "WWO", "WITH", "MIT", "AVEC", "CON"}) == "" { // otherwise plain and enhanced series were ordered
		studyDenies = word(inStudy, which(study, plainWords))
	}
	volumeDenies, volumeGives := "", ""
	switch {
	case volumeSaid && volume == 0:
		volumeDenies = "Contrast/Bolus Volume 0"
	case volumeSaid && volume > 0 && !swallowed(h):
		volumeGives = fmt.Sprintf("Contrast/Bolus Volume %g", volume)
	}
	first := func(said ...string) string {
		i := slices.IndexFunc(said, func(s string) bool { return s != "" })
		if i < 0 {
			return ""
		}
		return said[i]
	}
	against := func(gives string, denials ...string) (contrast, string) {
		if denies := first(denials...); denies != "" {
			return doubtful, gives + ", against " + denies
		}
		return doubtful, gives
	}
	gives := first(word(inAgent, agent), volumeGives)
	switch {
	case which(series, perfusionWords) != "":
		return perfusion, word(inSeries, which(series, perfusionWords))
	case seriesDenies == "" && which(series, angioWords) != "":
		return angiography, word(inSeries, which(series, angioWords))
	case gives != "" && first(seriesDenies, protocolDenies, studyDenies, volumeDenies, agentDenies) != "":
		return against(gives, seriesDenies, protocolDenies, studyDenies, volumeDenies, agentDenies)
	case agent != "":
		return enhanced, gives
	case gives != "":
		return doubtful, gives
	case seriesDenies != "":
		return plain, ""
	case which(series, contrastWords) != "" && agentDenies != "":
		return against(word(inSeries, which(series, contrastWords)), agentDenies)
	case which(series, contrastWords) != "":
		return enhanced, word(inSeries, which(series, contrastWords))
	case after(series) != "":
		return doubtful, word(inSeries, after(series))
	case protocolDenies != "" || agentDenies != "" || studyDenies != "":
		return plain, ""
	}
	for _, known := range [][]string{perfusionWords, angioWords, contrastWords} {
		if w := first(word(inProtocol, which(protocol, known)), word(inStudy, which(study, known))); w != "" {
			return doubtful, w
		}
	}
	return plain, ""
}

// after returns the word in a description that most likely means after contrast agent: DELAYED, or POST at its end, but not in
// "post fossa" or "post op".
func after(series []string) string {
	for i, w := range series {
		switch {
		case w == "DELAYED", w == "DELAY", w == "POST" && (i+1 == len(series) || series[i+1] == "MM"):
			return w
		}
	}
	return ""
}

// swallowed reports whether the agent was not given into a vessel, so that it does not reach the brain.
func swallowed(h *dcm.DataSet) bool {
	route := strings.ToUpper(h.String(dcm.ContrastBolusRoute))
	return strings.Contains(route, "ORAL") || strings.Contains(route, "RECTAL")
}

// agentOf reads the agent attribute: the name of the agent, the words that say that there was none, or both.
func agentOf(h *dcm.DataSet) (name, denied string) {
	if swallowed(h) {
		return "", ""
	}
	v := strings.ToUpper(strings.TrimSpace(strings.Join(h.Strings(dcm.ContrastBolusAgent), " ")))
	if coded := h.Sequence(dcm.ContrastBolusAgentSequence); v == "" && len(coded) > 0 {
		if v = strings.ToUpper(coded[0].String(dcm.CodeMeaning)); v == "" {
			return "CODED", ""
		}
	}
	if v == "" {
		return "", ""
	}
	amount := strings.TrimRight(v, "MLCG. ") // of "0 ML", "0.0CC"
	if amount != "" && strings.Trim(amount, "0.,") == "" || !strings.ContainsFunc(v, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		return "", v // 0, 0 ml, -, ?
	}
	d := &dcm.DataSet{}
	d.SetStrings(dcm.ContrastBolusAgent, "LO", strings.ReplaceAll(strings.ReplaceAll(v, "NON-IONIC", "NONIONIC"), "NON IONIC", "NONIONIC"))
	said := words(d, dcm.ContrastBolusAgent)
	no := which(said, plainWords)
	if no == "" {
		no = which(said, noneWords)
	}
	switch {
	case no == "":
		return v, ""
	case which(said, agentNames) != "":
		return which(said, agentNames), v
	}
	return "", v
}
