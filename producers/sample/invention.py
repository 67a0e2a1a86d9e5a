"""Invented entities and decisions: realistic in form, fictitious in content."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from schemas.identifiers.uscc import generate

__all__ = ["Entity", "entities", "listing", "penalty"]

Cells = dict[str, str]

_TOWNS = (
    ("北京", "110000"),
    ("北京朝阳", "110105"),
    ("北京海淀", "110108"),
    ("天津", "120000"),
    ("石家庄", "130100"),
    ("太原", "140100"),
)
_WORDS = (
    "晨曦",
    "远航",
    "恒信",
    "瑞丰",
    "华宁",
    "嘉禾",
    "云帆",
    "正达",
    "盛源",
    "启明",
    "安泰",
    "弘毅",
    "百川",
    "卓越",
    "鼎新",
    "同泽",
)
_TRADES = (
    "商贸",
    "建筑工程",
    "科技",
    "餐饮管理",
    "物流",
    "环保设备",
    "医疗器械",
    "文化传播",
    "物业管理",
    "食品",
    "化工",
    "教育咨询",
)
_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张"
_GIVEN = ("伟", "芳", "娜", "敏", "静", "强", "磊", "洋", "艳", "勇", "军", "杰", "秀英", "志刚", "建华", "丽娟")
_VIOLATIONS = {
    "market": ("发布虚假广告", "在经营场所以虚构原价的方式宣传", "《中华人民共和国广告法》第五十五条第一款"),
    "tax": ("未按规定期限办理纳税申报", "未在规定期限内申报当期税款", "《中华人民共和国税收征收管理法》第六十二条"),
    "environment": ("超标排放水污染物", "总排口化学需氧量超过排放标准", "《中华人民共和国水污染防治法》第八十三条"),
    "fire": ("消防设施未保持完好有效", "疏散通道内堆放物品, 应急照明损坏", "《中华人民共和国消防法》第六十条"),
    "emergency": (
        "未按规定对从业人员进行安全生产教育培训",
        "新上岗人员未经培训即上岗作业",
        "《中华人民共和国安全生产法》第九十七条",
    ),
    "transport": (
        "未取得道路运输经营许可擅自从事经营",
        "使用货运车辆从事未经许可的运输",
        "《中华人民共和国道路运输条例》第六十三条",
    ),
    "social-security": ("拖欠劳动者工资", "未按约定日期足额支付劳动报酬", "《保障农民工工资支付条例》第五十三条"),
}
_GENERIC = (
    "违反{domain}管理规定",
    "检查发现其未按{domain}领域管理要求开展经营活动",
    "《中华人民共和国行政处罚法》第九条",
)
_CATEGORIES = (
    ("警告", None),
    ("罚款", (1, 400)),
    ("罚款;没收违法所得", (5, 900)),
    ("警告;罚款", (1, 60)),
    ("责令停产停业", None),
)
_GROUNDS = {
    "WORK_SAFETY": ("发生生产安全事故, 经认定负有责任", "《安全生产严重失信主体名单管理办法》"),
    "WAGE_ARREARS": (
        "克扣、无故拖欠农民工工资达到认定拒不支付劳动报酬数额",
        "《拖欠农民工工资失信联合惩戒对象名单管理暂行办法》",
    ),
    "TAX": ("逃避追缴欠税, 情节严重", "《重大税收违法失信主体信息公布管理办法》"),
    "STATISTICS": ("编造虚假统计数据", "《统计严重失信企业信用管理办法》"),
    "COURT": ("有履行能力而拒不履行生效法律文书确定义务", "最高人民法院关于公布失信被执行人名单信息的若干规定"),
    "MARKET": ("严重违反市场监督管理法律法规受到较重行政处罚", "《市场监督管理严重违法失信名单管理办法》"),
    "PROCUREMENT": ("提供虚假材料谋取中标", "《关于报送政府采购严重违法失信行为信息记录的通知》"),
}


@dataclass(frozen=True, slots=True)
class Entity:
    """An invented market entity."""

    uscc: str
    name: str
    kind: str
    person: str


def entities(random: Random, count: int) -> list[Entity]:
    """Return invented entities; every twelfth is a 个体工商户."""
    made = []
    for number in range(count):
        town, division = random.choice(_TOWNS)
        single = number % 12 == 11
        suffix = "店" if single else "有限公司"
        word = "".join(random.sample(_WORDS, 2))
        person = random.choice(_SURNAMES) + random.choice(_GIVEN)
        made.append(
            Entity(
                generate(6_000_000 + number, prefix="92" if single else "91", division=division),
                f"{town}{word}{random.choice(_TRADES)}{suffix}",
                "个体工商户" if single else "法人及非法人组织",
                person,
            )
        )
    return made


def penalty(
    random: Random, today: date, entity: Entity, number: str, domain: tuple[str, str], authority: tuple[str, str]
) -> Cells:
    """Return the cells of a penalty, by CF_ code; `domain` is key and name, `authority` USCC and name."""
    kind, facts, basis = (text.format(domain=domain[1]) for text in _VIOLATIONS.get(domain[0], _GENERIC))
    decided = today - timedelta(days=random.randrange(5, 4 * 365))
    categories, span = random.choice(_CATEGORIES)
    amount = f"{random.randrange(span[0], span[1]) / 10:g}" if span else ""
    return {
        "CF_XDR_MC": entity.name,
        "CF_XDR_LB": entity.kind,
        "CF_XDR_SHXYM": entity.uscc,
        "CF_FRDB": entity.person,
        "CF_WSH": number,
        "CF_WFXW": kind,
        "CF_SY": f"{decided.year}年{decided.month}月检查时, 当事人{facts}(案卷 {number})",
        "CF_YJ": basis,
        "CF_CFLB": categories,
        "CF_NR": f"{categories.replace(';', '、')}" + (f", 罚款人民币{float(amount) * 10000:.0f}元" if amount else ""),
        "CF_NR_FK": amount,
        "CF_NR_WFFF": amount if "没收" in categories else "",
        "CF_JDRQ": decided.isoformat(),
        "CF_YXQ": "2099-12-31",
        "CF_GSJZQ": (decided + timedelta(days=365)).isoformat(),
        "CF_CFJG": authority[1],
        "CF_CFJGDM": authority[0],
        "CF_SJLY": authority[1],
        "CF_SJLYDM": authority[0],
    }


def listing(random: Random, today: date, entity: Entity, number: str, key: str, authority: tuple[str, str]) -> Cells:
    """Return the cells of a list entry, by Chinese name."""
    grounds, basis = _GROUNDS[key]
    listed = today - timedelta(days=random.randrange(30, 3 * 365))
    return {
        "主体名称": entity.name,
        "主体类别": entity.kind,
        "统一社会信用代码": entity.uscc,
        "名单": key,
        "条目编号": number,
        "列入事由": grounds,
        "列入依据": basis,
        "列入决定机关": authority[1],
        "列入决定机关代码": authority[0],
        "法定代表人": entity.person,
        "列入日期": listed.isoformat(),
        "有效期至": (listed + timedelta(days=3 * 365)).isoformat(),
    }
