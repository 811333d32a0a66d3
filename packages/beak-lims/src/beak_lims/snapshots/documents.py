"""What a copy of set-up says, as SQL that builds one JSON document per thing to be copied.

Each constant reads a relation ``wanted`` that the caller puts in front of it, and gives ``key`` and ``content``.
Figures are text without trailing zeros, so that a document is exact and has one form. No document holds a name, a birth
date, a contact or an identification of a patient.
"""

from __future__ import annotations


def _named(table: str, key: str, *, column: str = "name") -> str:
    return f"(SELECT n.{column} FROM {table} n WHERE n.uid = {key})"


def _listed(fields: str, source: str, order: str) -> str:
    return f"coalesce((SELECT jsonb_agg(jsonb_build_object({fields}) ORDER BY {order}) FROM {source}), '[]'::jsonb)"


def _figure(column: str) -> str:
    return f"trim_scale({column})::text"


_OF_ANALYSIS = "WHERE x.analysis_uid = a.uid"
_BY = "'instrument_uid', x.instrument_uid, 'method_uid', x.method_uid"

# What was used for a result: {} if nothing is named. Reads w.method_uid and w.laboratory_instrument_uid.
USED = """CASE WHEN w.method_uid IS NULL AND w.laboratory_instrument_uid IS NULL THEN '{}'::jsonb ELSE
    jsonb_build_object('used', jsonb_build_object(
        'method', (SELECT jsonb_build_object('uid', m.uid, 'name', m.name) FROM method m WHERE m.uid = w.method_uid),
        'laboratory_instrument', (
            SELECT jsonb_build_object('uid', d.uid, 'lab_name', d.lab_name, 'serial_number', d.serial_number,
                                      'instrument_uid', i.uid, 'instrument', i.name)
            FROM laboratory_instrument d JOIN instrument i ON i.uid = d.instrument_uid
            WHERE d.uid = w.laboratory_instrument_uid)
    )) END"""

# Reads of wanted: key, laboratory_uid, analysis_uid, method_uid, laboratory_instrument_uid, qc_level_uid.
ANALYSES = f"""
SELECT w.key, jsonb_build_object(
    'uid', a.uid, 'name', a.name, 'keyword', a.keyword, 'description', a.description,
    'result_type', a.result_type, 'precision', a.precision, 'sort_key', a.sort_key, 'hidden', a.hidden,
    'tat_length_minutes', a.tat_length_minutes, 'required_verifications', a.required_verifications,
    'self_verification', a.self_verification,
    'unit', {_named("unit", "a.unit_uid")},
    'category', {_named("analysis_category", "a.category_uid")},
    'department', {_named("department", "a.department_uid")},
    'methods', {
    _listed(
        "'uid', m.uid, 'name', m.name, 'keyword', m.keyword",
        "analysis_method x JOIN method m ON m.uid = x.method_uid " + _OF_ANALYSIS,
        "m.name",
    )
},
    'instruments', {
    _listed(
        "'uid', i.uid, 'name', i.name, 'keyword', i.keyword, 'devices', "
        + _listed(
            "'uid', d.uid, 'lab_name', d.lab_name, 'serial_number', d.serial_number",
            "laboratory_instrument d"
            " WHERE d.instrument_uid = i.uid AND d.laboratory_uid = w.laboratory_uid AND d.active",
            "d.lab_name",
        ),
        "analysis_instrument x JOIN instrument i ON i.uid = x.instrument_uid " + _OF_ANALYSIS,
        "i.name",
    )
},
    'interims', {
    _listed(
        "'key', x.key, 'content', x.content, 'instrument_uid', x.instrument_uid", "interim x " + _OF_ANALYSIS, "x.key"
    )
},
    'correction_factors', {
    _listed(f"'uid', x.uid, {_BY}, 'factor', {_figure('x.factor')}", "correction_factor x " + _OF_ANALYSIS, "x.uid")
},
    'specifications', {
    _listed(
        f"'uid', x.uid, 'unit', {_named('unit', 'x.unit_uid')}, 'method_uid', x.method_uid, 'gender', x.gender,"
        " 'age_min', x.age_min, 'age_max', x.age_max, 'age_unit', x.age_unit,"
        f" 'min', {_figure('x.min')}, 'max', {_figure('x.max')},"
        f" 'min_warn', {_figure('x.min_warn')}, 'max_warn', {_figure('x.max_warn')},"
        " 'min_report', x.min_report, 'max_report', x.max_report, 'normal_value', x.normal_value,"
        " 'warn_values', x.warn_values, 'warn_report', x.warn_report",
        "specification x " + _OF_ANALYSIS,
        "x.uid",
    )
},
    'detection_limits', {
    _listed(
        f"'uid', x.uid, {_BY}, 'lower', {_figure('x.lower')}, 'upper', {_figure('x.upper')}",
        "detection_limit x " + _OF_ANALYSIS,
        "x.uid",
    )
},
    'uncertainties', {
    _listed(
        f"'uid', x.uid, {_BY}, 'min', {_figure('x.min')}, 'max', {_figure('x.max')}, 'value', {_figure('x.value')}",
        "uncertainty x " + _OF_ANALYSIS,
        "x.uid",
    )
},
    'result_options', {
    _listed(
        "'key', x.key, 'value', x.value, 'sample_types', "
        "coalesce((SELECT jsonb_agg(t.sample_type_uid ORDER BY t.sample_type_uid) FROM result_option_sample_type t"
        " WHERE t.result_option_uid = x.uid), '[]'::jsonb)",
        "result_option x " + _OF_ANALYSIS,
        "x.key",
    )
}
) || {USED}
|| CASE WHEN w.qc_level_uid IS NULL THEN '{{}}'::jsonb ELSE
    jsonb_build_object('qc', (
        SELECT jsonb_build_object('level', l.name, 'lot', q.lot, 'expected', q.expected,
                                  'min', {_figure("q.min")}, 'max', {_figure("q.max")})
        FROM qc_level l LEFT JOIN LATERAL (
            SELECT * FROM qc_reference q
            WHERE q.qc_level_uid = l.uid AND q.analysis_uid = a.uid AND q.active
                  AND (q.expires IS NULL OR q.expires >= current_date)
            ORDER BY q.uid DESC LIMIT 1) q ON true
        WHERE l.uid = w.qc_level_uid)) END AS content
FROM wanted w JOIN analysis a ON a.uid = w.analysis_uid
"""

# Reads of wanted: key, hash of an analysis's copy, method_uid, laboratory_instrument_uid. Gives the copy with that use.
WITH_USE = f"SELECT w.key, (c.content - 'used') || {USED} AS content FROM wanted w JOIN snapshot_content c USING (hash)"

# Reads of wanted: key, sample_type_uid, and the arrays of uids profiles and analyses.
SAMPLES = f"""
SELECT w.key, jsonb_build_object(
    'sample_type', (SELECT jsonb_build_object('uid', t.uid, 'name', t.name, 'abbr', t.abbr)
                    FROM sample_type t WHERE t.uid = w.sample_type_uid),
    'profiles', {
    _listed("'uid', p.uid, 'name', p.name, 'keyword', p.keyword", "profile p WHERE p.uid = ANY (w.profiles)", "p.name")
},
    'analyses', {
    _listed("'uid', a.uid, 'name', a.name, 'keyword', a.keyword", "analysis a WHERE a.uid = ANY (w.analyses)", "a.name")
}
) AS content
FROM wanted w
"""

_PLACES = (
    f"'country', {_named('country', '{0}.country_uid')}, 'province', {_named('province', '{0}.province_uid')},"
    f" 'district', {_named('district', '{0}.district_uid')}"
)
_CLIENT = "jsonb_build_object('uid', c.uid, 'name', c.name, 'code', c.code, " + _PLACES.format("c") + ")"

# Reads of wanted: key, patient_uid, client_uid, client_contact_uid. Gives also the encrypted identity.
REQUESTS = f"""
SELECT w.key, jsonb_build_object(
    'patient', jsonb_build_object('uid', p.uid, 'patient_id', p.patient_id, 'gender', p.gender, 'age', p.age),
    'client', {_CLIENT},
    'client_contact_uid', w.client_contact_uid
) AS content,
jsonb_build_object('first_name', p.first_name, 'middle_name', p.middle_name, 'last_name', p.last_name,
                   'date_of_birth', p.date_of_birth) AS identity
FROM wanted w JOIN patient p ON p.uid = w.patient_uid JOIN client c ON c.uid = w.client_uid
"""

# Reads of wanted: key, the patient's uid.
PATIENTS = f"""
SELECT w.key, jsonb_build_object('client', {_CLIENT}, {_PLACES.format("p")}) AS content
FROM wanted w JOIN patient p ON p.uid = w.key JOIN client c ON c.uid = p.client_uid
"""

# A document's name is the hash of the one text that PostgreSQL writes a jsonb value as.
HASH = "encode(sha256(convert_to(content::text, 'UTF8')), 'hex')"
# A key of the form of tenantry.registry.uids, for rows that a statement makes by itself.
NEW_UID = (
    "lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')"
    " || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14)"
)
