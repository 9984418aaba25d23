"""How the HTML report looks: one style sheet, in the report itself. Narrow screens get each row as a card."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root{--bg:#f3f5f8;--card:#fff;--line:#dde3ea;--text:#17202b;--soft:#566477;--before:#8795a8;--after:#0b66c3;
--good:#0a7a48;--bad:#c22a20;--warning:#8a5a00;--h0:#e3ecf6;--h1:#b3cdea;--h2:#f0b849;--h3:#e0702a;--h4:#a81d1d;
color-scheme:light dark;font:15px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--card:#141a22;--line:#232c38;--text:#e4eaf1;--soft:#93a1b3;
--before:#6b7a8d;--after:#5cb8ff;--good:#43c68b;--bad:#ff7b72;--warning:#f2b843;--h0:#1a2733;--h1:#27506f;
--h2:#a87a1c;--h3:#d2691e;--h4:#ff5a4f}}
*{box-sizing:border-box;margin:0}
body{background:var(--bg);color:var(--text);padding:20px 16px 60px;overflow-wrap:anywhere;-webkit-text-size-adjust:100%}
article{max-width:1180px;margin:0 auto 56px}
h1{font-size:1.5rem;line-height:1.25;font-weight:650}
h2{font-size:1.05rem;margin-bottom:.5em}
h2 small,h3 small{font-weight:400;color:var(--soft)}
.about,.note,small,dt,th,.quiet,.times,.ends{color:var(--soft)}
.about{margin-top:2px}
.headline{font-size:1.15rem;font-weight:600;margin:16px 0;padding:12px 16px;background:var(--card);
border:1px solid var(--line);border-left:5px solid var(--soft);border-radius:8px}
.headline.good{border-left-color:var(--good)}.headline.warning{border-left-color:var(--warning)}
.headline.bad{border-left-color:var(--bad)}
.good{color:var(--good)}.warning{color:var(--warning)}.bad{color:var(--bad)}
.headline.good,.headline.warning,.headline.bad{color:var(--text)}
td.good,td.warning,td.bad,dd.good,dd.warning,dd.bad,b.good,b.warning,b.bad{font-weight:650}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:10px}
dl div,section{background:var(--card);border:1px solid var(--line);border-radius:8px}
dl div{padding:8px 12px}dt{font-size:.8rem}dd{font-size:1.05rem;font-weight:600;margin:0}
section{padding:16px;margin-top:16px}
section p+p{margin-top:.35em}
.note{font-size:.85rem;margin:-.2em 0 .8em}
table{width:100%;border-collapse:collapse;font-size:.9rem}
th{text-align:left;font-weight:500;font-size:.8rem}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
.n{text-align:right;white-space:nowrap}
td small{display:block;font-size:.78rem;font-weight:400}
td.n small{white-space:nowrap}
details summary{cursor:pointer;color:var(--soft);padding:10px 0 4px}
section>details:only-child>summary{padding:0}
.gallery{display:grid;gap:16px 20px;grid-template-columns:repeat(auto-fill,minmax(min(100%,250px),1fr))}
figure{min-width:0}figcaption{font-size:.85rem;font-weight:600}figcaption small{display:block;font-weight:400}
figure svg{display:block;width:100%;height:76px;margin-top:4px;border-bottom:1px solid var(--line)}
.ends{display:flex;justify-content:space-between;font-size:.75rem}
.b{fill:var(--before);opacity:.45}.a{fill:none;stroke:var(--after);stroke-width:2;vector-effect:non-scaling-stroke}
.key{display:inline-block;width:1.1em;height:.8em;border-radius:2px;margin:0 .35em 0 .9em;vertical-align:-.05em}
.key:first-child{margin-left:0}
.key.before{background:var(--before);opacity:.6}.key.after{background:var(--after)}
.pair{display:grid;grid-template-columns:minmax(0,6.5em) 1fr;gap:0 8px;font-size:.75rem;align-items:center;
margin-top:3px}
.pair span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.pair i{display:block;height:6px;border-radius:1px;min-width:1px;background:var(--before);opacity:.6}
.pair i+i{background:var(--after);opacity:1;margin-top:1px}
.heat{display:grid;grid-template-columns:minmax(0,max-content) minmax(0,1fr);gap:2px 10px;font-size:.8rem}
.heat span{max-width:16em;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;line-height:18px}
.heat svg{display:block;width:100%;height:18px}
.times{grid-column:2;font-size:.75rem}
.legend{font-size:.78rem;margin-top:10px}
.h0{fill:var(--h0);background:var(--h0)}.h1{fill:var(--h1);background:var(--h1)}
.h2{fill:var(--h2);background:var(--h2)}.h3{fill:var(--h3);background:var(--h3)}
.h4{fill:var(--h4);background:var(--h4)}.hx{fill:none}
.key.hx{border:1px dashed var(--soft)}
@media(max-width:640px){body{padding:14px 10px 40px}section{padding:12px}h1{font-size:1.25rem}
thead{display:none}table,tbody{display:block}
tr{display:grid;grid-template-columns:1fr 1fr;gap:2px 14px;padding:10px 0;border-bottom:1px solid var(--line)}
tr:last-child{border-bottom:0}
td{border:0;padding:0;display:flex;gap:8px;text-align:left}
td::before{content:attr(data-head);color:var(--soft);font-weight:400;font-size:.8rem;min-width:2.6em}
td:first-child{font-weight:650;font-size:1rem}td:first-child::before{content:none}
td:first-child,.wide{grid-column:1/-1}
.n,td.n small{text-align:left;white-space:normal}
.heat{grid-template-columns:minmax(0,7.5em) minmax(0,1fr)}}
@media print{body{background:none;padding:0}section,figure,tr{break-inside:avoid}}
"""
