"""What is wrong with a parameter, in both languages. No phrase quotes what the caller sent."""

from typing import Any

from runtime.errors import Refusal, bilingual

_TURKISH = {
    "is required": "zorunludur",
    "one of them is required": "bunlardan biri zorunludur",
    "is required with {because}": "{because} ile zorunludur",
    "is not a parameter; callback_url is": "böyle bir parametre yok; callback_url kullanın",
    "this model takes no source {kind}": "bu model kaynak dosya almaz ({kind})",
    "this model has no such parameter": "bu modelin böyle bir parametresi yok",
    "is given twice; {other} is the same parameter": "iki kez verilmiş; {other} aynı parametredir",
    "is always {value} with this model": "bu modelde her zaman {value} olur",
    "at most {most} unknown ones with short names are passed on": "en çok {most} bilinmeyen, kısa adlı olan iletilir",
    "the model is not offered with this combination of values": "model bu değerlerin birleşimiyle sunulmuyor",
    # types and ranges
    "must be a string": "metin olmalı",
    "must be a number": "sayı olmalı",
    "must be a whole number": "tam sayı olmalı",
    "must be true or false": "true veya false olmalı",
    "must be a list": "liste olmalı",
    "must be a list of objects": "nesnelerden oluşan bir liste olmalı",
    "must be from {least} to {most}": "{least} ile {most} arasında olmalı",
    "must be at least {least}": "en az {least} olmalı",
    "must be at most {most}": "en çok {most} olmalı",
    "must be one of {allowed}": "şunlardan biri olmalı: {allowed}",
    "must be one of {allowed} with {because}": "{because} ile şunlardan biri olmalı: {allowed}",
    "must be one of {allowed} (capitals count), or a voice id of the provider's": (
        "şunlardan biri (büyük/küçük harf önemlidir) veya sağlayıcının bir ses kimliği olmalı: {allowed}"
    ),
    "has at most {most} characters": "en çok {most} karakter olabilir",
    "has at most {most} characters with {because}": "{because} ile en çok {most} karakter olabilir",
    "has at most {most} characters in all": "toplam en çok {most} karakter olabilir",
    "at least {least} item(s) must be given": "en az {least} öğe verilmeli",
    "at most {most} item(s) may be given": "en çok {most} öğe verilebilir",
    "must be a list of 1 to {most} objects with text and voice": (
        "text ve voice içeren 1 ila {most} nesneden oluşan bir liste olmalı"
    ),
    "each item must be an object with a text": "her öğe, text içeren bir nesne olmalı",
    # sources
    "this model takes at most {most} image(s) here": "bu model burada en çok {most} görsel alır",
    "must be one URL, not a list": "liste değil, tek bir URL olmalı",
    "must be a URL, or a list of URLs": "URL veya URL listesi olmalı",
    "{kind} must be a public http(s) URL": "herkese açık bir http(s) URL'si olmalı ({kind})",
    "must be a public http(s) URL or a base64 data URI": "herkese açık bir http(s) URL'si veya base64 data URI olmalı",
    "a data URI must be of the form data:image/png;base64,…": "data URI, data:image/png;base64,… biçiminde olmalı",
    "the data URI is not valid base64": "data URI geçerli base64 değil",
    "the image is empty": "görsel boş",
    "the content is no PNG, JPEG, WebP or GIF image": "içerik PNG, JPEG, WebP veya GIF değil",
    "a URL has at most {most} characters": "URL en çok {most} karakter olabilir",
    "the URL has characters that must be percent-encoded": "URL'de yüzde kodlaması gereken karakterler var",
    "the URL must not hold credentials": "URL'de kullanıcı adı veya parola olamaz",
    "the URL's host must be public": "URL'nin sunucusu herkese açık olmalı",
    "the URL is not valid": "URL geçerli değil",
    "the URL's port is not valid": "URL'nin portu geçerli değil",
}


def refused(name: str, phrase: str, **values: Any) -> Refusal:
    """The refusal of the parameter that the caller calls `name`; `phrase` is the English of one of the rows above."""
    turkish = _TURKISH.get(phrase, phrase)
    return Refusal(
        "invalid_request", bilingual(f"{name}: {turkish.format(**values)}", f"{name}: {phrase.format(**values)}")
    )
