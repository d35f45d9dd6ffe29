package dcm

import (
	"slices"
	scripts "unicode"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// Letters beyond ASCII by language, the most frequent ones first. Characters and syllables of East Asian languages are those of
// family names, given names and words of requests.
var (
	western = []*language{
		alphabet(true, "üöäß"), alphabet(true, "éèçàêîôâëïûùœ"), alphabet(true, "óáíéñúü"), alphabet(true, "ãçáéóíêâôúõà"), alphabet(true, "òèàùìé"),
		alphabet(true, "öäåé"), alphabet(true, "øåæéöü"), alphabet(true, "áíóðéþöæúý"), alphabet(true, "ëéïèöü"),
	}
	central = []*language{
		alphabet(true, "łńąśóęćżź"), alphabet(true, "áíéěřýčšžůúťňďó"), alphabet(true, "áíéýčšžúľťôňďĺóŕä"), alphabet(true, "áéóíöüőúű"), alphabet(true, "ćčšžđ"),
		alphabet(true, "ăşţâîșț"),
	}
	baltic   = []*language{alphabet(true, "ėšžąįųūčę"), alphabet(true, "āīēšņļūģžķč"), alphabet(true, "äõüöšž")}
	turkish  = []*language{alphabet(true, "ışğöüçiâî")}
	cyrillic = []*language{
		alphabet(false, "оаиевнртсклмдпуяьгызбчйхжшюцщэфъё"), alphabet(false, "аоніиверткслмудпяьзйгбчхюшжїцщфєґ"), alphabet(false, "аеионртвсдклмупјзбгчшцжхљњфћђџ"),
		alphabet(false, "аоеніткрслвдмпуяыьзгбўчйхшжцюэфё"),
	}
	greek     = []*language{alphabet(false, "αοιςετσνηυρπκμλωδάίόγήέύχθφβξώζψϊϋΐΰ")}
	hebrew    = []*language{alphabet(false, "יוהלארמתנבשעםדחןקפכגצטזסךףץ")}
	arabic    = []*language{alphabet(false, "المينرحدبعسوتةفهكقشطخجصزضغىءإأئثذظآؤپچگژکی")}
	thai      = []*language{alphabet(false, "านรกอเงมทวสชพยิ์ดัีลตะบุปคหข่ไจ้โศธืแูณผภฒฐำใญซถ็ษฉฟฏฤึ๊ฝ๋ฆฬฌ")}
	halfwidth = characters("ﾝﾞｼﾐｶｸｷﾏﾀﾓﾄﾔｲｻﾜﾅｱｺﾘｵﾕﾋｳﾂｽﾉﾊﾁｴｹｾﾌﾏﾗﾙﾛﾚﾆﾎﾍﾑﾒﾖｿﾃﾇﾈﾟｯｬｭｮｰ", nil)
	hanzi     = map[*scripts.RangeTable]float64{scripts.Han: -9.5}
	chinese   = characters("王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛"+
		"郝龚邵万钱严覃武戴莫孔向汤明国华建文平志伟东海强晓小生光民永杰军健一忠洪福祥中正振勇耀春大宁亮宇兴宝少剑云学仁涛瑞飞鹏安亚泽世汉达卫利胜敏群波成荣新峰刚家德庆斌辉良玉俊立浩天宏子松克清长嘉红山贤阳乐锋智青跃元广思雄锦"+
		"丽娜秀娟静淑慧珍芬美玲燕梅艳娥霞婷兰英芳雪琴月莉莲凤洁素葛诸欧司官殷施牛樊齐梅庄温柴关焦左柳甘祝包霍翁骆童倪路毕涂卜凌俞翟聂盛岳申尚裴古褚三四五六头颅脑平扫部科院医急诊外伤男女欣怡梓涵", hanzi)
	traditional = characters("王李張劉陳楊黃趙吳周徐孫馬朱胡郭何高林羅鄭梁謝宋唐許韓馮鄧曹彭曾蕭田董袁潘蔣蔡余杜葉程蘇魏呂丁任沈姚盧姜崔鍾譚陸汪范金石廖賈夏方白鄒孟熊秦邱江薛雷侯龍史陶黎賀顧毛龔邵萬錢嚴武戴莫孔湯游"+
		"明國華建文平志偉東海強小生光民永傑軍健一忠洪福祥中正振勇春大宇家豪俊宏子雅婷怡君美玲惠淑芬麗秀英珍玉雪芳慧月琴三頭部腦科院醫急診外傷", hanzi)
	kanji = characters("田中山本佐藤鈴木高橋伊渡辺村小林加吉口松井清斎石川前野原岡上島内西池谷長部大坂三浦福太郎一二次子美花恵由紀和幸智雄男夫正明弘浩之健真優愛香奈菜久保千葉森青宮竹市河近遠後安工宏隆介裕彦博康文英信義水阿"+
		"須菅桜杉今丸金関片永新古平武星秋春夏冬南北東洋治光秀勝利直哉也樹翔陽頭部単純撮影外傷救急", map[*scripts.RangeTable]float64{scripts.Han: -9.5, scripts.Hiragana: -4.6, scripts.Katakana: -4.6})
	hangul = characters("김이박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민류나진지엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국어은편용예경봉사부가복태형피두감음빈동온호범좌승"+
		"간상시갈환숙자순철재훈종혜아화란춘일규병만대덕욱식웅혁희미영준수청뇌두부외상응급단층촬영", map[*scripts.RangeTable]float64{scripts.Hangul: -9, scripts.Han: -11})
)

// utf8Name is the set that is no guess.
const utf8Name = "UTF-8"

// letters are the languages of alphabets.
func letters() []*language {
	return slices.Concat(western, central, baltic, turkish, cyrillic, greek, hebrew, arabic, thai)
}

// guesses are the sets that are tried. The first one decodes any bytes.
var guesses = []guessed{
	{name: "Windows-1252 (Western European, holds ISO 8859-1)", enc: charmap.Windows1252, prior: 0, in: western},
	{name: "Windows-1250 (Central European)", enc: charmap.Windows1250, prior: -1, in: central},
	{name: "ISO 8859-2 (Central European)", enc: charmap.ISO8859_2, prior: -1, in: central},
	{name: "Windows-1254 (Turkish, holds ISO 8859-9)", enc: charmap.Windows1254, prior: -1.5, in: turkish},
	{name: "Windows-1257 (Baltic)", enc: charmap.Windows1257, prior: -2, in: baltic},
	{name: "ISO 8859-4 (Baltic)", enc: charmap.ISO8859_4, prior: -3, in: baltic},
	{name: "Windows-1251 (Cyrillic)", enc: charmap.Windows1251, prior: 0, in: cyrillic},
	{name: "ISO 8859-5 (Cyrillic)", enc: charmap.ISO8859_5, prior: -0.5, in: cyrillic},
	{name: "KOI8-U (Cyrillic)", enc: charmap.KOI8U, prior: -2, in: cyrillic},
	{name: "code page 866 (Cyrillic)", enc: charmap.CodePage866, prior: -1, in: cyrillic},
	{name: "Windows-1253 (Greek)", enc: charmap.Windows1253, prior: -1, in: greek},
	{name: "ISO 8859-7 (Greek)", enc: charmap.ISO8859_7, prior: -1, in: greek},
	{name: "Windows-1255 (Hebrew)", enc: charmap.Windows1255, prior: -0.5, in: hebrew},
	{name: "ISO 8859-8 (Hebrew)", enc: charmap.ISO8859_8, prior: -0.6, in: hebrew},
	{name: "Windows-1256 (Arabic)", enc: charmap.Windows1256, prior: -1, in: arabic},
	{name: "ISO 8859-6 (Arabic)", enc: charmap.ISO8859_6, prior: -1, in: arabic},
	{name: "Windows-874 (Thai)", enc: charmap.Windows874, prior: -1, in: thai},
	{name: "GB18030 (Chinese, holds GBK)", enc: simplifiedchinese.GB18030, prior: 0, in: []*language{chinese}},
	{name: "Big5 (Chinese)", enc: traditionalchinese.Big5, prior: -1, in: []*language{traditional}},
	{name: "Shift JIS (Japanese)", enc: japanese.ShiftJIS, prior: 0, in: []*language{kanji, halfwidth}},
	{name: "EUC-JP (Japanese)", enc: japanese.EUCJP, prior: -1, in: []*language{kanji}},
	{name: "EUC-KR (Korean)", enc: korean.EUCKR, prior: 0, in: []*language{hangul}},
	{name: utf8Name, enc: unicode.UTF8, prior: 8, in: letters()},
}
