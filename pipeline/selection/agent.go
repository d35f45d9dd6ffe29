package selection

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"ichor/scp/dcm"
)

// agent is what the agent attribute says: one of the fields, or given and denied together where one word names an agent and
// another denies it.
type agent struct {
	given   string // an agent, or that one was given
	denied  string // none was given
	part    string // given for a part of the study: "with and without"
	unknown string // the text states neither: "unknown", "no reaction"
}

// Words of the agent attribute, and of descriptions that say both, in the languages of sites. Upper case, whole words.
var (
	// deniers deny the rest of their clause.
	deniers = []string{"WITHOUT", "WO", "NON", "NO", "NOT", "OHNE", "SANS", "SIN", "SENZA", "ZONDER", "SEM", "UTAN", "UDEN", "UTEN", "ILMAN", "BEZ", "БЕЗ",
		"PRE", "PRÉ", "BEFORE", "VOR", "AVANT", "ANTES", "PRIMA", "VOOR", "PRZED", "ДО", "ÖNCE", "ÖNCESI", "ONCESI", "FØR", "FÖRE",
		"NONE", "NIL", "NULL", "ZERO", "NEGATIVE", "NEVER", "UNUSED", "KEIN", "KEINE", "KEINES", "NICHT", "NEIN", "AUCUN", "AUCUNE", "PAS", "NESSUN", "NESSUNO", "NESSUNA",
		"NINGUN", "NINGÚN", "NINGUNO", "NENHUM", "NÃO", "NAO", "GEEN", "NIET", "NEE", "INGEN", "INGET", "NEJ", "NEI", "BRAK", "NIE", "НЕТ", "НЕ", "YOK", "HAYIR", "VERILMEDI", "YAPILMADI",
		"FALSE", "FALSCH", "FAUX", "FALSO", "NIEPODANO"}
	// nots do not end before "with" and "after": not with contrast.
	nots = []string{"NO", "NOT", "NON", "NICHT", "KEIN", "KEINE", "PAS", "NIE", "НЕ", "NÃO", "NAO", "NIET"}
	// native words deny by themselves.
	native = []string{"NONCON", "NONCONTRAST", "NC", "NCCT", "NECT", "UNENHANCED", "NONENHANCED", "NATIVE", "NATIV", "NATIF", "NATIVO", "NATIVA", "NATYWNE", "NATYWNIE", "NATYWNY", "PLAIN",
		"PRECONTRAST", "BLANCO", "BASAL", "BASALE", "DIRETTA", "SIMPLE", "SPC", "NEPOST", "НАТИВ", "НАТИВНО", "НАТИВНЫЙ", "KONTRASTSIZ", "ILAÇSIZ", "ILACSIZ", "LEEG"}
	// given words say that an agent reached the patient; so do contrastWords, words that begin with CONTRAST, and agentNames.
	given = []string{"WITH", "W", "MIT", "AVEC", "CON", "COM", "MET", "MED", "Z", "ZE", "С", "POST", "AFTER", "NACH", "APRES", "APRÈS", "DESPUES", "DESPUÉS", "DEPOIS", "APÓS", "APOS", "DOPO",
		"NA", "PO", "ПОСЛЕ", "EFTER", "ETTER", "SONRA", "SONRASI", "YES", "JA", "OUI", "TRUE"}
	evidence = []string{"EV", "INTRAVENOUS", "INTRAVENÖS", "INTRAVENEUSE", "ML", "CC", "CM", "MC", "PDC"}
	injected = []string{"IV", "INJECTION", "INJECTE", "INJECTÉ", "INJ", "INJECTED", "INIEZIONE", "ILAÇLI", "ILACLI"}
	// beside words do not concern an agent in the vessels: "no reaction, Isovist", "IV contrast, no oral".
	beside = []string{"ORAL", "ORALE", "ORALES", "ORALLY", "ENTERAL", "RECTAL", "REKTAL", "RECTALE", "REACTION", "REACTIONS", "REAKTION", "REAKTIONEN", "RÉACTION", "REACCION", "REACCIÓN", "REAZIONE", "REAZIONI",
		"REAÇÃO", "REACTIE", "REAKCJI", "REAKSIYON", "РЕАКЦИИ", "REACTED", "ALLERGY", "ALLERGIES", "ALLERGIE", "ALERGIA", "ALLERGIA", "ALERGII", "ALERJI", "АЛЛЕРГИИ", "COMPLICATION", "COMPLICATIONS",
		"KOMPLIKATION", "KOMPLIKATIONEN", "COMPLICACIONES", "COMPLICAZIONI", "COMPLICATIES", "COMPLICAÇÕES", "POWIKŁAŃ", "ОСЛОЖНЕНИЙ", "EXTRAVASATION", "EXTRAVASAT", "PARAVASAT", "PROBLEMS", "PROBLEME",
		"PROBLÈME", "PROBLEM", "ISSUES", "INCIDENT", "DELAY", "IONIC", "PREMEDICATION", "CHANGE", "WASTE", "OP", "OPERATIVE", "MED", "MEDICATION"}
	qualifiers = []string{"ADVERSE", "ALLERGIC", "ALLERGISCHE", "KNOWN", "ANY", "BEKANNTE", "EFFETS", "IMMEDIATE"}
	// and words separate clauses.
	and     = []string{"AND", "UND", "U", "ET", "Y", "E", "EN", "I", "И", "VE", "OG", "OCH", "BUT", "THEN", "DANN"}
	unknown = []string{"UNKNOWN", "UNK", "UNKN", "UNBEKANNT", "INCONNU", "INCONNUE", "DESCONOCIDO", "SCONOSCIUTO", "IGNOTO", "ONBEKEND", "DESCONHECIDO", "NIEZNANY", "NIEZNANE",
		"НЕИЗВЕСТНО", "НЕИЗВЕСТЕН", "BILINMIYOR", "UNSPECIFIED", "UNDEFINED", "OKÄND", "UKJENT", "UKENDT", "不明", "未知"}
	// harmless words beside a denial name no agent.
	harmless = []string{"PATIENT", "PT", "REFUSED", "DECLINED", "GIVEN", "USED", "ADMINISTERED", "GEGEBEN", "RENAL", "GFR", "CREATININE", "KREATININ", "NIERE", "ALLERGY", "ALLERGIC", "DUE", "TO", "ONLY",
		"HEAD", "CT", "BRAIN", "CCT", "SCAN", "STUDY", "EXAM", "ROUTINE", "STROKE", "TRAUMA", "KOPF", "SCHÄDEL", "KONTRAINDIKATION", "CONTRAINDICATED"}

	zeroAmount = regexp.MustCompile(`(^|[^0-9.,])0+([.,]0+)?\s*(ML|CC|MG|G|L|МЛ)($|[^\pL\d])`)
	amount     = regexp.MustCompile(`^\d+(ML|CC)$`)
)

// shorthand replaces abbreviations and the scripts that write no spaces by the words of this file. The longer come first.
var shorthand = strings.NewReplacer("İ", "I", "W/OUT", "WITHOUT", "W/O", "WO", "S/C", "SIN ", "S/ ", "SIN ", "O/KM", "OHNE KM", "O. KM", "OHNE KM", "B/K", "BEZ ", "N/A", "NA",
	"I.V", "IV", "I. V.", "IV", "E.V.", "IV", "K.M.", "KM", "M.D.C.", "MDC", "M.D.C", "MDC", "NON-IONIC", "NONIONIC", "NON IONIC", "NONIONIC", "NON-CON ", "NONCON ", "NON CON ", "NONCON ",
	"+/-", " WWO ", "-/+", " WWO ", "±", " WWO ", "NOT KNOWN", "UNKNOWN", "NOT SPECIFIED", "UNKNOWN", "NOT RECORDED", "UNKNOWN", "NOT STATED", "UNKNOWN", "KEINE ANGABE", "UNKNOWN",
	"NICHT BEKANNT", "UNKNOWN", "NON PRÉCISÉ", "UNKNOWN", "NON PRECISE", "UNKNOWN", "NON NOTO", "UNKNOWN", "NIET BEKEND", "UNKNOWN", "NO CONOCIDO", "UNKNOWN", "NO ESPECIFICADO", "UNKNOWN",
	"НЕ ИЗВЕСТНО", "UNKNOWN", "不明", " UNKNOWN ", "未知", " UNKNOWN ",
	"造影前後", " WWO ", "造影前后", " WWO ", "增强前后", " WWO ", "增強前後", " WWO ", "平扫", " NONCONTRAST ", "平掃", " NONCONTRAST ", "単純", " NONCONTRAST ", "单纯", " NONCONTRAST ", "單純", " NONCONTRAST ",
	"造影剤なし", " NONCONTRAST ", "造影剤未使用", " NONCONTRAST ", "造影剤不使用", " NONCONTRAST ", "造影剤使用せず", " NONCONTRAST ", "造影剤無", " NONCONTRAST ", "造影剤(-)", " NONCONTRAST ", "造影なし", " NONCONTRAST ",
	"造影せず", " NONCONTRAST ", "造影無し", " NONCONTRAST ", "造影無", " NONCONTRAST ", "造影(-)", " NONCONTRAST ", "造影前", " NONCONTRAST ", "非造影", " NONCONTRAST ", "無造影剤", " NONCONTRAST ", "無造影", " NONCONTRAST ", "未造影", " NONCONTRAST ", "不造影", " NONCONTRAST ", "无造影剂", " NONCONTRAST ", "无造影", " NONCONTRAST ",
	"非增强", " NONCONTRAST ", "未增强", " NONCONTRAST ", "不增强", " NONCONTRAST ", "无增强", " NONCONTRAST ", "非增強", " NONCONTRAST ", "無增強", " NONCONTRAST ", "增强前", " NONCONTRAST ", "未使用造影剂", " NONCONTRAST ", "未用造影剂", " NONCONTRAST ", "无对比剂", " NONCONTRAST ", "未使用对比剂", " NONCONTRAST ", "無對比劑", " NONCONTRAST ",
	"なし", " NONE ", "無し", " NONE ", "いいえ", " NONE ", "无", " NONE ", "無", " NONE ", "否", " NONE ",
	"造影剤", " POSTCONTRAST ", "造影剂", " POSTCONTRAST ", "造影", " POSTCONTRAST ", "增强", " POSTCONTRAST ", "增強", " POSTCONTRAST ", "对比剂", " POSTCONTRAST ")

// clauses splits text at punctuation and at words for "and", "with" and "after", and returns the words of each clause.
func clauses(text string) (all [][]string) {
	text = zeroAmount.ReplaceAllString(shorthand.Replace(strings.ToUpper(text)+" "), "$1 ZERO $4")
	var clause []string
	end := func() {
		if len(clause) > 0 {
			all = append(all, clause)
		}
		if n := len(all); len(clause) == 1 && clause[0] == "ZERO" && n > 1 { // "Omnipaque, 0 ml"
			all = append(all[:n-2], slices.Concat(all[n-2], clause))
		}
		clause = nil
	}
	last := func() string { return append([]string{""}, clause...)[len(clause)] }
	for _, field := range strings.Fields(text) {
		switch strings.Trim(field, "(),;/") {
		case "C+", "+C", "CM+", "KM+", "IV+", "+KM", "+CM", "INJ+":
			field = "POSTCONTRAST"
		case "C-", "-C", "CM-", "KM-", "IV-", "-KM", "-CM", "INJ-":
			field = "NONCONTRAST"
		case "C+/C-", "C-/C+", "IV-/IV+", "IV+/IV-", "KM-/KM+", "C-C+", "C-,C+":
			field = "WWO"
		case "-":
			end()
			continue
		}
		for field != "" {
			i := strings.IndexFunc(field, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
			w, rest := field, ""
			if i >= 0 {
				w, rest = field[:i], field[i:]
			}
			switch {
			case w == "":
			case slices.Contains(and, w):
				end()
			case w == "WWO" || w == "WOW" || slices.Contains(native, w):
				end()
				clause = []string{w}
				end()
			case slices.Contains(given, w) && slices.Contains(deniers, last()) && !slices.Contains(nots, last()),
				slices.Contains(deniers, w) && which(clause, given) != "":
				end()
				clause = []string{w}
			default:
				clause = append(clause, w)
			}
			if rest != "" {
				mark := []rune(rest)[0]
				if strings.ContainsRune(",;/|&+、，・＋／", mark) {
					end()
				}
				rest = rest[len(string(mark)):]
			}
			field = rest
		}
	}
	end()
	return all
}

// withoutBeside removes denials of something else from a clause: no oral, no adverse reaction.
func withoutBeside(clause []string) []string {
	var out []string
	for i := 0; i < len(clause); i++ {
		if slices.Contains(deniers, clause[i]) {
			j := i + 1
			for j < len(clause) && slices.Contains(qualifiers, clause[j]) {
				j++
			}
			if j < len(clause) && slices.Contains(beside, clause[j]) && (j+1 == len(clause) || !slices.Contains([]string{"OR", "NOR", "ODER", "OU", "OF"}, clause[j+1])) {
				if i = j; j+1 < len(clause) && isContrast(clause[j+1]) { // no oral contrast
					i++
				}
				continue
			}
		}
		out = append(out, clause[i])
	}
	return out
}

func isContrast(w string) bool {
	return slices.Contains(contrastWords, w) || strings.HasPrefix(w, "CONTRAST") || strings.HasPrefix(w, "KONTRAST") || strings.HasPrefix(w, "КОНТРАСТ")
}

// isGiven reports whether a word says by itself that an agent reached the patient.
func isGiven(w string) bool {
	return isContrast(w) || slices.Contains(evidence, w) || slices.Contains(injected, w) || slices.Contains(agentNames, w) || amount.MatchString(w)
}

// agentOf reads the agent attribute, and the coded one where the text states nothing.
func agentOf(h *dcm.DataSet) agent {
	if swallowed(h) {
		return agent{}
	}
	a := readAgent(strings.Join(h.Strings(dcm.ContrastBolusAgent), ","))
	coded := h.Sequence(dcm.ContrastBolusAgentSequence)
	if a.given+a.denied+a.part != "" || len(coded) == 0 {
		return a
	}
	if meaning := coded[0].String(dcm.CodeMeaning); meaning != "" {
		return readAgent(meaning)
	}
	return agent{given: "CODED"}
}

// readAgent reads the text clause by clause.
func readAgent(text string) agent {
	v := strings.ToUpper(strings.TrimSpace(text))
	zero := strings.TrimRight(v, "MLCG. ") // of "0 ML", "0.0CC"
	switch {
	case v == "":
		return agent{}
	case zero != "" && strings.Trim(zero, "0.,") == "", !strings.ContainsFunc(v, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '+' || r == '±' }),
		slices.Contains([]string{"N", "NA", "N/A", "NI", "N.I.", "F", "N.A."}, v): // 0, 0 ml, -, ?, not injected
		return agent{denied: v}
	case v == "Y":
		return agent{given: v}
	}
	var denied, said, named, other bool
	for _, clause := range clauses(v) {
		clause = withoutBeside(clause)
		switch no := which(clause, deniers); {
		case len(clause) == 0 || which(clause, unknown) != "":
		case clause[0] == "WWO" || clause[0] == "WOW":
			denied, said = true, true
		case no != "" || which(clause, native) != "":
			denied, named = true, named || which(clause, agentNames) != ""
		case slices.ContainsFunc(clause, isGiven) || which(clause, given) != "":
			said = true
		case slices.ContainsFunc(clause, func(w string) bool { return !slices.Contains(harmless, w) && !slices.Contains(beside, w) }):
			other = true
		}
	}
	switch {
	case denied && said:
		return agent{part: v}
	case denied && (named || other): // "no Omnipaque", or a name that is not known here
		return agent{given: v, denied: v}
	case denied:
		return agent{denied: v}
	case said || other:
		return agent{given: v}
	}
	return agent{unknown: v}
}

// bothOf returns the value of a description that says both with and without contrast agent, "" if none does. There "with" and
// "after" count only at the end of a clause or before contrast: not in "post fossa", "with MPR".
func bothOf(d *dcm.DataSet, tags ...dcm.Tag) string {
	for _, t := range tags {
		for _, v := range d.Strings(t) {
			var denied, said bool
			for _, clause := range clauses(v) {
				clause = withoutBeside(clause)
				switch {
				case len(clause) == 0:
				case clause[0] == "WWO" || clause[0] == "WOW":
					denied, said = true, true
				case which(clause, deniers) != "" || which(clause, native) != "":
					denied = true
				default:
					said = said || slices.ContainsFunc(clause, isContrast) || which(clause, injected) != "" || slices.Contains(given, clause[len(clause)-1])
				}
			}
			if denied && said {
				return v
			}
		}
	}
	return ""
}
