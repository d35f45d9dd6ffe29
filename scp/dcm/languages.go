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

// guesses are the sets that are tried. The first one decodes any bytes.
var guesses = []guessed{
	{"Windows-1252 (Western European, holds ISO 8859-1)", charmap.Windows1252, 0, western},
	{"Windows-1250 (Central European)", charmap.Windows1250, -1, central},
	{"ISO 8859-2 (Central European)", charmap.ISO8859_2, -1, central},
	{"Windows-1254 (Turkish, holds ISO 8859-9)", charmap.Windows1254, -1.5, turkish},
	{"Windows-1257 (Baltic)", charmap.Windows1257, -2, baltic},
	{"ISO 8859-4 (Baltic)", charmap.ISO8859_4, -3, baltic},
	{"Windows-1251 (Cyrillic)", charmap.Windows1251, 0, cyrillic},
	{"ISO 8859-5 (Cyrillic)", charmap.ISO8859_5, -0.5, cyrillic},
	{"KOI8-U (Cyrillic)", charmap.KOI8U, -2, cyrillic},
	{"code page 866 (Cyrillic)", charmap.CodePage866, -1, cyrillic},
	{"Windows-1253 (Greek)", charmap.Windows1253, -1, greek},
	{"ISO 8859-7 (Greek)", charmap.ISO8859_7, -1, greek},
	{"Windows-1255 (Hebrew)", charmap.Windows1255, -0.5, hebrew},
	{"ISO 8859-8 (Hebrew)", charmap.ISO8859_8, -0.6, hebrew},
	{"Windows-1256 (Arabic)", charmap.Windows1256, -1, arabic},
	{"ISO 8859-6 (Arabic)", charmap.ISO8859_6, -1, arabic},
	{"Windows-874 (Thai)", charmap.Windows874, -1, thai},
	{"GB18030 (Chinese, holds GBK)", simplifiedchinese.GB18030, 0, []*language{chinese}},
	{"Big5 (Chinese)", traditionalchinese.Big5, -1, []*language{traditional}},
	{"Shift JIS (Japanese)", japanese.ShiftJIS, 0, []*language{kanji, halfwidth}},
	{"EUC-JP (Japanese)", japanese.EUCJP, -1, []*language{kanji}},
	{"EUC-KR (Korean)", korean.EUCKR, 0, []*language{hangul}},
	{utf8Name, unicode.UTF8, 8, slices.Concat(western, central, baltic, turkish, cyrillic, greek, hebrew, arabic)},
}
