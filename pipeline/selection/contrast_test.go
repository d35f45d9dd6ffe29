package selection

import (
	"testing"

	"ichor/scp/dcm"
)

// TestAgentLanguages: the forms of sites in their languages. What says both, with and without, is never a denial, and what
// denies is never a contrast agent.
func TestAgentLanguages(t *testing.T) {
	t.Parallel()
	for want, agents := range map[contrast][]string{
		enhanced: {
			"W/WO", "WITH AND WITHOUT", "PRE AND POST", "IV CONTRAST, NO ORAL", "KM i.v. nach nativ", "NO REACTION, ISOVIST", // in a part, or something else is denied
			"W & W/O", "W+WO", "WWO", "W AND W/O CONTRAST", "WITHOUT AND WITH IV CONTRAST", "PRE/POST", "PRE+POST CONTRAST", "C+/C-", "C-/C+", "C+/-", "+/-", "BEFORE AND AFTER CONTRAST", "PLAIN AND CONTRAST",
			"NONCONTRAST AND CONTRAST", "w/out and with", "IOPAMIDOL, NO ADVERSE REACTION", "IOHEXOL NO COMPLICATIONS", "IV ONLY, NO ORAL CONTRAST", "OMNIPAQUE WITHOUT REACTION", "100ML IV NO EXTRAVASATION", "Y",
			"mit und ohne KM", "ohne und mit KM", "nativ und KM", "nativ/KM", "nativ + KM", "vor und nach KM", "Imeron, keine Reaktion", "KM ohne Komplikationen", "Nativ, dann KM i.v.", "KM i.v., nicht oral",
			"sans et avec injection", "avec et sans contraste", "avant et après injection", "SPC puis IV, IV+", "Xenetix, pas de reaction allergique, IV", "IV-/IV+",
			"sin y con contraste", "con y sin contraste", "antes y después de contraste", "simple y contrastado", "basal y contraste", "contraste IV, sin reacciones", "S/C y con contraste",
			"senza e con mdc", "con e senza mdc", "prima e dopo mdc", "basale e con mdc", "Iomeron, senza reazioni", "diretta e mdc",
			"zonder en met contrast", "met en zonder contrast", "blanco en na contrast", "voor en na contrast", "contrast iv, geen reactie",
			"sem e com contraste", "com e sem contraste", "antes e depois do contraste", "contraste IV, sem complicações",
			"bez i z kontrastem", "z i bez kontrastu", "przed i po kontraście", "natywne i z kontrastem", "kontrast iv, bez reakcji",
			"без и с контрастом", "с контрастом и без", "до и после контраста", "нативно и с контрастом", "Омнипак, без осложнений",
			"kontrastlı ve kontrastsız", "kontrast öncesi ve sonrası", "IV kontrast, alerji yok",
			"単純＋造影", "単純・造影", "単純、造影", "造影前後", "平扫+增强", "平扫及增强", "平扫＋增强", "增强前后", "造影剤あり",
			"mit KM", "avec", "con contraste", "met contrast", "com contraste", "z kontrastem", "с контрастом", "kontrastlı", "增强", "ja", "oui", "TRUE", "Ultravist-370", "iv kontrast verildi",
		},
		plain: {
			"非造影", "BASAL", "false", "NI", "F", "FALSE", "IV CONTRAST: NO", "CONTRAST NOT GIVEN", "CONTRAST: NONE", "NO IV OR ORAL CONTRAST", "NONE, PATIENT REFUSED", "NO CONTRAST DUE TO ALLERGY", "NON-IV", "NON CON", "0.00 ML", "0 mg",
			"kein", "nein", "nicht gegeben", "KM: nein", "KM nicht gegeben", "ohne i.v. KM", "vor KM", "kein Kontrastmittel gegeben", "KM keines", "falsch",
			"non injecté", "pas d'injection", "sans IV", "aucune injection", "natif", "pas de produit de contraste", "faux",
			"sin contraste IV", "simple", "no contrastado", "ninguno", "no se administra contraste", "falso", "sin civ",
			"non somministrato", "nessuno", "senza contrasto", "nessun mdc", "basale", "diretta",
			"geen contrast", "blanco", "niet gegeven", "geen", "nee", "sem injeção", "não", "nenhum", "não administrado",
			"nie podano", "bez", "brak kontrastu", "nie", "natywne", "без контрастирования", "не вводился", "нет", "нативное исследование без контраста",
			"kontrastsız", "yok", "verilmedi", "hayır", "kontrast verilmedi", "İlaçsız",
			"造影なし", "無造影", "造影剤なし", "造影剤未使用", "未造影", "なし", "単純CT", "造影(-)", "非增强", "未增强", "无造影剂", "无", "平扫", "未使用造影剂", "否", "無",
		},
		doubtful: {
			"0ml Omnipaque", "Omnipaque 0 ml", "Omnipaque, 0.0 ML", "IOHEXOL NOT GIVEN", "kein Ultravist", "sans Xenetix", "NONE, ACMEVIST", // a name and a denial
			"unknown", "UNBEKANNT", "UNK", "not known", "Kontrast unbekannt", "keine Angabe", "inconnu", "desconocido", "sconosciuto", "onbekend", "desconhecido", "nieznany", "неизвестно", "bilinmiyor", "不明", "未知",
			"CONTRAST UNKNOWN", "NOT SPECIFIED", "NO ORAL", "NO REACTION",
		},
	} {
		for _, agent := range agents {
			h := series("a", 1, text(dcm.ContrastBolusAgent, agent))[0]
			if got, why := contrastOf(h); got != want || (got == plain) != (why == "") {
				t.Errorf("agent %q: %v %q, want %v; clauses %q", agent, got, why, want, clauses(agent))
			}
		}
	}
}

// TestBothAndUnknown: the series decides where the agent was given in a part of the study, or where it is unknown.
func TestBothAndUnknown(t *testing.T) {
	t.Parallel()
	type tags map[dcm.Tag]string
	for _, c := range []struct {
		tags tags
		want contrast
	}{
		{tags{dcm.ContrastBolusAgent: "W/WO", dcm.SeriesDescription: "Head native 5.0"}, plain},
		{tags{dcm.ContrastBolusAgent: "W/WO", dcm.SeriesDescription: "Head C+"}, enhanced},
		{tags{dcm.ContrastBolusAgent: "W/WO", dcm.SeriesDescription: "Head W/WO"}, enhanced},
		{tags{dcm.ContrastBolusAgent: "W/WO", dcm.SeriesDescription: "Head native", dcm.ContrastBolusVolume: "80"}, doubtful},
		{tags{dcm.ContrastBolusAgent: "W/WO", dcm.SeriesDescription: "Head native", dcm.ContrastBolusStartTime: "101500"}, doubtful},
		{tags{dcm.ContrastBolusAgent: "W/WO", dcm.ContrastBolusVolume: "0"}, doubtful},
		{tags{dcm.ContrastBolusAgent: "W/WO", dcm.StudyDescription: "CT HEAD W/O CONTRAST"}, enhanced},
		{tags{dcm.ContrastBolusAgent: "UNKNOWN", dcm.SeriesDescription: "Head native"}, plain},
		{tags{dcm.ContrastBolusAgent: "UNKNOWN", dcm.SeriesDescription: "Head C+"}, enhanced},
		{tags{dcm.ContrastBolusAgent: "UNKNOWN", dcm.ContrastBolusVolume: "80"}, doubtful},
		{tags{dcm.ContrastBolusAgent: "UNKNOWN", dcm.ContrastBolusVolume: "0"}, plain},
		{tags{dcm.ContrastBolusAgent: "UNKNOWN", dcm.StudyDescription: "CT head without contrast"}, plain},
		{tags{dcm.SeriesDescription: "CT HEAD W/WO"}, doubtful},
		{tags{dcm.SeriesDescription: "HEAD PRE/POST"}, doubtful},
		{tags{dcm.SeriesDescription: "Angio Kopf nativ"}, doubtful},
		{tags{dcm.SeriesDescription: "CTA head without contrast"}, doubtful},
		{tags{dcm.SeriesDescription: "CT Schädel mit und ohne KM"}, doubtful},
		{tags{dcm.SeriesDescription: "Crâne sans et avec injection"}, doubtful},
		{tags{dcm.SeriesDescription: "Cráneo sin y con contraste"}, doubtful},
		{tags{dcm.SeriesDescription: "頭部 単純＋造影"}, doubtful},
		{tags{dcm.StudyDescription: "CT HEAD W/WO"}, doubtful},
		{tags{dcm.StudyDescription: "HEAD PRE/POST"}, doubtful},
		{tags{dcm.StudyDescription: "CT HEAD W/WO", dcm.ContrastBolusAgent: "NONE"}, plain},
		{tags{dcm.StudyDescription: "CT HEAD W/WO", dcm.SeriesDescription: "Head native"}, plain},
		{tags{dcm.SeriesDescription: "頭部 非造影"}, plain},
		{tags{dcm.SeriesDescription: "头颅 非增强"}, plain},
		{tags{dcm.SeriesDescription: "Head w/o post fossa"}, plain},
		{tags{dcm.SeriesDescription: "Head wo post op"}, plain},
		{tags{dcm.SeriesDescription: "HEAD WITH MPR, NO CONTRAST"}, plain},
	} {
		h := series("a", 1)[0]
		for t, v := range c.tags {
			h.SetStrings(t, "LO", v)
		}
		if got, why := contrastOf(h); got != c.want || (got == plain) != (why == "") {
			t.Errorf("%v: %v %q, want %v", c.tags, got, why, c.want)
		}
	}
}
