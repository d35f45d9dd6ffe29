package selection

import (
	"fmt"
	"slices"
	"strings"

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
	agent := agentOf(h)
	volume, volumeSaid := h.Float(dcm.ContrastBolusVolume)
	word := func(where, w string) string {
		if w == "" {
			return ""
		}
		return fmt.Sprintf("%s %.30q", where, w)
	}
	const inAgent, inSeries, inProtocol, inStudy = "Contrast/Bolus Agent", "Series Description", "Protocol Name", "Study Description"
	// A description that says both, with and without, denies nothing.
	inBoth := first(word(inSeries, bothOf(h, dcm.SeriesDescription)), word(inProtocol, bothOf(h, dcm.ProtocolName)),
		word(inStudy, bothOf(h, dcm.StudyDescription, dcm.RequestedProcedureDescription)))
	agentDenies, seriesDenies, protocolDenies, studyDenies := word(inAgent, agent.denied), "", "", ""
	if bothOf(h, dcm.SeriesDescription) == "" {
		seriesDenies = word(inSeries, which(series, plainWords))
	}
	if bothOf(h, dcm.ProtocolName) == "" {
		protocolDenies = word(inProtocol, which(protocol, plainWords))
	}
	if bothOf(h, dcm.StudyDescription, dcm.RequestedProcedureDescription) == "" {
		studyDenies = word(inStudy, which(study, plainWords))
	}
	volumeDenies, volumeGives := "", ""
	switch start := h.String(dcm.ContrastBolusStartTime); {
	case volumeSaid && volume == 0:
		volumeDenies = "Contrast/Bolus Volume 0"
	case volumeSaid && volume > 0 && !swallowed(h):
		volumeGives = fmt.Sprintf("Contrast/Bolus Volume %g", volume)
	case start != "" && agent.part != "":
		volumeGives = word("Contrast/Bolus Start Time", start)
	}
	against := func(gives string, denials ...string) (contrast, string) {
		if denies := first(denials...); denies != "" {
			return doubtful, gives + ", against " + denies
		}
		return doubtful, gives
	}
	gives := first(word(inAgent, agent.given), volumeGives)
	angio := which(series, angioWords)
	before := slices.Index(series, angio) - 1 // "Pre CTA" is the plain series before it
	switch {
	case which(series, perfusionWords) != "":
		return perfusion, word(inSeries, which(series, perfusionWords))
	case seriesDenies == "" && angio != "":
		return angiography, word(inSeries, angio)
	case agent.part != "": // in a part of the study: the series says in which
		switch denies := first(seriesDenies, volumeDenies); {
		case denies == "":
			return enhanced, word(inAgent, agent.part)
		case seriesDenies == "" || volumeGives != "" || angio != "":
			return against(first(volumeGives, word(inAgent, agent.part)), denies)
		}
		return plain, ""
	case gives != "" && first(seriesDenies, protocolDenies, studyDenies, volumeDenies, agentDenies) != "":
		return against(gives, seriesDenies, protocolDenies, studyDenies, volumeDenies, agentDenies)
	case agent.given != "":
		return enhanced, gives
	case gives != "":
		return doubtful, gives
	case angio != "" && !(before >= 0 && series[before] == "PRE"):
		return against(word(inSeries, angio), seriesDenies)
	case seriesDenies != "":
		return plain, ""
	case bothOf(h, dcm.SeriesDescription) != "":
		return against(inBoth, agentDenies)
	case which(series, contrastWords) != "" && agentDenies != "":
		return against(word(inSeries, which(series, contrastWords)), agentDenies)
	case which(series, contrastWords) != "":
		return enhanced, word(inSeries, which(series, contrastWords))
	case after(series) != "":
		return doubtful, word(inSeries, after(series))
	case agentDenies != "" || volumeDenies != "":
		return plain, ""
	case inBoth != "":
		return doubtful, inBoth
	case protocolDenies != "" || studyDenies != "":
		return plain, ""
	case agent.unknown != "":
		return doubtful, word(inAgent, agent.unknown)
	}
	for _, known := range [][]string{perfusionWords, angioWords, contrastWords} {
		if w := first(word(inProtocol, which(protocol, known)), word(inStudy, which(study, known))); w != "" {
			return doubtful, w
		}
	}
	return plain, ""
}

// first returns the first text that is not empty.
func first(said ...string) string {
	i := slices.IndexFunc(said, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return said[i]
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
